import { open, type FileHandle } from 'node:fs/promises';
import { concat } from '../../../attestation/bytes/bytes.ts';
import { MAX_LOG_BYTES } from '../../../attestation/evidence/bootlog/log.ts';
import { CollectError } from '../errors.ts';
import { deviceError, systemCode } from '../systemError.ts';

/** Where Linux shows the TCG2 log of the firmware, through securityfs. */
export const EVENT_LOG_PATH = '/sys/kernel/security/tpm0/binary_bios_measurements';
const CHUNK_BYTES = 64 * 1024;

/**
 * The log of measured boot; undefined where firmware left none, or securityfs is not mounted. `stat` says size 0, so
 * it is read to its end; more than a verifier takes is refused.
 */
export async function readEventLog(path: string = EVENT_LOG_PATH): Promise<Uint8Array | undefined> {
  try {
    const log = await open(path, 'r');
    try {
      return await readToEnd(log, path);
    } finally {
      await log.close();
    }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw deviceError(error, `reading ${path}`);
  }
}

async function readToEnd(log: FileHandle, path: string): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  for (let length = 0; ;) {
    const chunk = new Uint8Array(CHUNK_BYTES);
    const { bytesRead } = await log.read(chunk, 0, chunk.length, null);
    if (bytesRead === 0) return length > 0 ? concat(...parts) : undefined;
    length += bytesRead;
    if (length > MAX_LOG_BYTES) {
      throw new CollectError('EVIDENCE_MALFORMED', `${path} has more than ${MAX_LOG_BYTES} bytes`);
    }
    parts.push(chunk.subarray(0, bytesRead));
  }
}
