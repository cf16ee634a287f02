import { Refusal } from '../../../attestation/errors.ts';
import { MAX_LOG_BYTES } from '../../../attestation/evidence/bootlog/log.ts';
import { parseBootLog } from '../../../attestation/evidence/bootlog/parse.ts';
import { CollectError } from '../errors.ts';
import { readBlob } from './attribute.ts';
import { errnoOf } from './systemError.ts';

/** What is kept of the 0xFF that fills the area: the verifier wants four of them, or none. */
const KEPT_FILLING = 8;

/**
 * The log of measured boot of a TD, which firmware writes and the kernel shows beside the ACPI table CCEL; undefined
 * where there is none. The host provides memory and table: whoever relies on the log compares it with the RTMRs.
 */
export async function readCcel(path: string): Promise<Uint8Array | undefined> {
  const log = await readBlob(path, MAX_LOG_BYTES).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return new Uint8Array();
    throw error;
  });
  return log.length === 0 ? undefined : withoutFilling(log);
}

/** Areas are 64 KiB and more, most of it filling, and would be sent with each evidence document. */
function withoutFilling(log: Uint8Array): Uint8Array {
  let end = log.length;
  while (end > 0 && log[end - 1] === 0xff) end--;
  const cut = log.slice(0, Math.min(log.length, end + KEPT_FILLING));
  // The data of a last event may end in 0xFF as well: then the cut went through it.
  if (isLog(cut)) return cut;
  if (isLog(log)) return log;
  throw new CollectError('EVIDENCE_MALFORMED', 'the CCEL area holds no boot log');
}

function isLog(bytes: Uint8Array): boolean {
  try {
    return parseBootLog(bytes, 'rtmr').events.length > 0;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}
