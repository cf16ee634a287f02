import { asMap } from '../cbor/shape.ts';
import { decodeDc } from '../cbor/deterministic.ts';
import { HEADER, type Sign1 } from '../cose/sign1.ts';
import type { Needle } from './needle.ts';
import { parseEntryHeader, RECEIPT_TYPE, RECORD_TYPE, type EntryHeader } from './receipt.ts';

const NOTHING = new Uint8Array(0);

/**
 * The claims from `evidence` to `devices`, in which receipts of one model, path and epoch agree: a reader that read
 * them once knows what they say wherever the same bytes stand.
 */
export interface Setting {
  readonly encoded: Needle;
  /** Where digests begin, from the beginning of the claims. */
  readonly keyset: number;
  readonly manifest: number;
}

/** A protected header that was parsed before. */
export interface KnownHeader {
  readonly encoded: Needle;
  readonly header: EntryHeader;
  /** UTF-8 of the subject. */
  readonly subject: Needle;
  /** Read under this header, with its subject as the model; newest first. */
  settings: readonly Setting[];
}

export function parseHeader(encoded: Uint8Array): EntryHeader {
  const protectedHeader = asMap(decodeDc(encoded), 'protected header');
  const sign1: Sign1 = { protectedBytes: encoded, protectedHeader, payload: NOTHING, signature: NOTHING };
  const type = protectedHeader.get(HEADER.typ) === RECORD_TYPE ? RECORD_TYPE : RECEIPT_TYPE;
  return parseEntryHeader(sign1, type);
}
