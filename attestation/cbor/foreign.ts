import { Decoder } from 'cbor-x/decode';
import { Refusal } from '../errors.ts';
import { DEFAULT_LIMITS, scanItem, type ScanLimits } from './scan.ts';

const decoder = new Decoder({ useRecords: false, mapsAsObjects: false });

/**
 * Decodes CBOR that someone else wrote (RFC 8949, any well-formed encoding): maps become `Map`, 64-bit integers
 * BigInt. Duplicate keys are not seen here; formats where they matter are read by `decodeDc`.
 */
export function decodeForeign(bytes: Uint8Array, limits: ScanLimits = DEFAULT_LIMITS): unknown {
  scanItem(bytes, limits);
  try {
    return decoder.decode(bytes);
  } catch (error) {
    throw new Refusal('MALFORMED', `CBOR: ${error instanceof Error ? error.message : 'cannot be decoded'}`);
  }
}
