import type { PcrBank } from '../../../attestation/evidence/evidence.ts';
import { CollectError } from '../errors.ts';
import { CC } from './command.ts';
import { readEvidence } from '../reading.ts';
import { encodeSelection, parsePcrValues, type Registers } from './selection.ts';
import type { TpmSession } from './session.ts';

/**
 * Values of the registers, eight at most for each command. Between two commands a register can change: only a quote
 * says which values were there together.
 */
export async function readPcrs(session: TpmSession, { hash, pcrs }: Registers): Promise<PcrBank> {
  const values = new Map<number, Uint8Array>();
  for (;;) {
    const missing = pcrs.filter((index) => !values.has(index));
    const [first] = missing;
    if (first === undefined) return { hash, values: new Map(pcrs.flatMap((index) => entry(values, index))) };
    const asked = { hash, pcrs: missing };
    const read = await readOnce(session, asked);
    if (read.size === 0) {
      throw new CollectError('DEVICE_REFUSED', `the TPM has no ${hash} bank with PCR ${first}`);
    }
    for (const [index, value] of read) values.set(index, value);
  }
}

function entry(values: ReadonlyMap<number, Uint8Array>, index: number): readonly [number, Uint8Array][] {
  const value = values.get(index);
  return value ? [[index, value]] : [];
}

async function readOnce(session: TpmSession, asked: Registers): Promise<ReadonlyMap<number, Uint8Array>> {
  const { parameters } = await session.run({
    name: 'PCR_Read',
    code: CC.pcrRead,
    handles: [],
    authorizations: 0,
    parameters: encodeSelection(asked),
    responseHandles: 0,
  });
  return readEvidence('PCR values', () => parsePcrValues(parameters, asked));
}
