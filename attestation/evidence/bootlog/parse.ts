import { parseDstackLog } from './dstack.ts';
import { malformed, MAX_LOG_BYTES, type BootLog } from './log.ts';
import { parseTcgLog } from './tcg.ts';

const OPENING_BRACKET = 0x5b;
/** Whitespace of JSON. */
const WHITESPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);
const LAST_PCR = 23;

/**
 * The events of a log, not compared with anything. The format follows from its start: a `[` is dstack's JSON; an
 * event of the Specification ID whose register is 1 is CCEL, whose register is 0 the log of a TPM; any other binary
 * event starts a SHA-1 log. `registers` says which ones the log must be of; then `rtmr` also takes a CCEL whose header
 * names register 0.
 */
export function parseBootLog(bytes: Uint8Array, registers?: 'pcr' | 'rtmr'): BootLog {
  if (bytes.length > MAX_LOG_BYTES) {
    throw malformed(`${bytes.length} bytes, more than ${MAX_LOG_BYTES}`);
  }
  if (!isJson(bytes)) return parseTcgLog(bytes, registers);
  if (registers === 'pcr') throw malformed('a dstack log is of RTMRs, not of PCRs');
  return parseDstackLog(bytes);
}

/** A binary log starts with a register number: a small byte and three zeros, which no JSON text does. */
function isJson(bytes: Uint8Array): boolean {
  const isSmallNumber = (bytes[0] ?? 0) <= LAST_PCR && [1, 2, 3].every((i) => bytes[i] === 0);
  if (isSmallNumber) return false;
  const first = bytes.findIndex((byte) => !WHITESPACE.has(byte));
  return bytes[first] === OPENING_BRACKET;
}
