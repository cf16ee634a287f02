import { concat } from '../../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { readSized } from '../../../attestation/evidence/tpm/algorithms.ts';
import { CollectError } from '../errors.ts';
import { readNvBufferSize } from './capability.ts';
import { CC, EMPTY_2B, RH, tpm2b, u16be, u32be } from './command.ts';
import { readEvidence } from '../reading.ts';
import { TpmRefusal } from './response.ts';
import type { TpmSession } from './session.ts';

/** Bits of TPMA_NV (part 2, section 13.4). */
export const NV = {
  ownerWrite: 0x2,
  authWrite: 0x4,
  ownerRead: 0x2_0000,
  authRead: 0x4_0000,
  written: 0x2000_0000,
} as const;
/** TPM_ALG_SHA256, for the name of an index. */
const NAME_HASH = 0x000b;
const MAX_NAME_BYTES = 66;
const MAX_POLICY_BYTES = 64;

/** TPMS_NV_PUBLIC (part 2, section 13.5), as the TPM states it. */
export interface NvPublic {
  readonly index: number;
  readonly attributes: number;
  /** Bytes. */
  readonly size: number;
}

/** The public area of an index; undefined where it is not defined. */
export async function readNvPublic(session: TpmSession, index: number): Promise<NvPublic | undefined> {
  try {
    const { parameters } = await session.run({
      name: 'NV_ReadPublic',
      code: CC.nvReadPublic,
      handles: [index],
      authorizations: 0,
      parameters: new Uint8Array(),
      responseHandles: 0,
    });
    return readEvidence(`NV index ${nvText(index)}`, () => parseNvPublic(parameters, index));
  } catch (error) {
    if (error instanceof TpmRefusal && error.isAbsent) return undefined;
    throw error;
  }
}

/** TPM2B_NV_PUBLIC and the name of the index. */
export function parseNvPublic(parameters: Uint8Array, wanted: number): NvPublic {
  const reader = new ByteReader(parameters, 'NV_ReadPublic');
  const inner = new ByteReader(readSized(reader, 128, 'TPM2B_NV_PUBLIC'), 'TPMS_NV_PUBLIC');
  readSized(reader, MAX_NAME_BYTES, 'name');
  reader.end();
  const index = inner.u32be();
  inner.u16be();
  const attributes = inner.u32be();
  readSized(inner, MAX_POLICY_BYTES, 'authPolicy');
  const size = inner.u16be();
  inner.end();
  if (index !== wanted) throw new Refusal('MALFORMED', `the answer is about NV index ${nvText(index)}`);
  return { index, attributes, size };
}

/** Content of an index; undefined where it is not defined or was never written. Larger ones than `maximum` are refused. */
export async function readNv(
  session: TpmSession,
  index: number,
  maximum: number,
): Promise<Uint8Array | undefined> {
  const area = await readNvPublic(session, index);
  if (!area || (area.attributes & NV.written) === 0) return undefined;
  if (area.size > maximum) {
    const reason = `NV index ${nvText(index)} has ${area.size} bytes, more than ${maximum}`;
    throw new CollectError('EVIDENCE_MALFORMED', reason);
  }
  const chunk = await readNvBufferSize(session);
  const authority = authorityFor(area, 'Read');
  const parts: Uint8Array[] = [];
  for (let offset = 0; offset < area.size; offset += chunk) {
    parts.push(await readChunk(session, area, authority, offset, Math.min(chunk, area.size - offset)));
  }
  return concat(...parts);
}

async function readChunk(
  session: TpmSession,
  { index }: NvPublic,
  authority: number,
  offset: number,
  size: number,
): Promise<Uint8Array> {
  const { parameters } = await session.run({
    name: 'NV_Read',
    code: CC.nvRead,
    handles: [authority, index],
    authorizations: 1,
    parameters: concat(u16be(size), u16be(offset)),
    responseHandles: 0,
  });
  return readEvidence(`NV index ${nvText(index)}`, () => parseNvData(parameters, size));
}

/** TPM2B_MAX_NV_BUFFER of exactly the size asked for. */
export function parseNvData(parameters: Uint8Array, size: number): Uint8Array {
  const reader = new ByteReader(parameters, 'NV_Read');
  const data = readSized(reader, size, 'TPM2B_MAX_NV_BUFFER');
  if (data.length !== size)
    throw new Refusal('MALFORMED', `${data.length} bytes came, ${size} were asked for`);
  reader.end();
  return data;
}

/** Writes all of the content, from the start of the index. */
export async function writeNv(session: TpmSession, area: NvPublic, content: Uint8Array): Promise<void> {
  const chunk = await readNvBufferSize(session);
  const authority = authorityFor(area, 'Write');
  for (let offset = 0; offset < content.length; offset += chunk) {
    await session.run({
      name: 'NV_Write',
      code: CC.nvWrite,
      handles: [authority, area.index],
      authorizations: 1,
      parameters: concat(tpm2b(content.subarray(offset, offset + chunk)), u16be(offset)),
      responseHandles: 0,
    });
  }
}

/** Defines an index with an empty password, under the owner. */
export async function defineNv(session: TpmSession, area: NvPublic): Promise<void> {
  const { index, attributes, size } = area;
  const encoded = concat(u32be(index), u16be(NAME_HASH), u32be(attributes), EMPTY_2B, u16be(size));
  await session.run({
    name: 'NV_DefineSpace',
    code: CC.nvDefineSpace,
    handles: [RH.owner],
    authorizations: 1,
    parameters: concat(EMPTY_2B, tpm2b(encoded)),
    responseHandles: 0,
  });
}

export async function undefineNv(session: TpmSession, index: number): Promise<void> {
  await session.run({
    name: 'NV_UndefineSpace',
    code: CC.nvUndefineSpace,
    handles: [RH.owner, index],
    authorizations: 1,
    parameters: new Uint8Array(),
    responseHandles: 0,
  });
}

/** The owner, or the index itself: whichever its attributes let read or write it with an empty password. */
function authorityFor({ index, attributes }: NvPublic, access: 'Read' | 'Write'): number {
  if (attributes & NV[`owner${access}`]) return RH.owner;
  if (attributes & NV[`auth${access}`]) return index;
  const verb = access === 'Read' ? 'read' : 'written';
  throw new CollectError(
    'PERMISSION_DENIED',
    `NV index ${nvText(index)} can be ${verb} neither by the owner nor with its own password`,
  );
}

export function nvText(index: number): string {
  return `0x${index.toString(16).padStart(8, '0')}`;
}
