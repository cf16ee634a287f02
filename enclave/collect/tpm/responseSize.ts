import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { CollectError } from '../errors.ts';

/** Tag, size and response code. */
export const HEADER_BYTES = 10;
/** TPM_BUFSIZE of Linux, and the largest response of the reference implementation. */
export const MAX_RESPONSE_BYTES = 4096;

/** Size that the header states, once the six bytes are there that hold it. */
export function statedSize(received: Uint8Array): number | undefined {
  if (received.length < 6) return undefined;
  const reader = new ByteReader(received, 'TPM response');
  reader.u16be();
  const size = reader.u32be();
  if (size >= HEADER_BYTES && size <= MAX_RESPONSE_BYTES) return size;
  const allowed = `${HEADER_BYTES} to ${MAX_RESPONSE_BYTES}`;
  throw new CollectError('EVIDENCE_MALFORMED', `the TPM response states ${size} bytes, not ${allowed}`);
}

/** True once the response is whole; bytes beyond it are refused, for they answer nothing that was asked. */
export function isWhole(received: Uint8Array): boolean {
  const size = statedSize(received);
  if (size === undefined || received.length < size) return false;
  if (received.length === size) return true;
  const reason = `${received.length - size} bytes follow the TPM response`;
  throw new CollectError('EVIDENCE_MALFORMED', reason);
}
