import { concat, equalBytes } from '../bytes/bytes.ts';
import { encodeDc } from '../cbor/deterministic.ts';
import { keyThumbprint } from '../cose/key.ts';
import { HEADER, parseForeignSign1, parseSign1 } from '../cose/sign1.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Keyset } from '../keyset.ts';
import { parseReceipt, verifyEntry, type ParsedReceipt } from '../receipt/receipt.ts';
import { verifyLogReceipt, type VerifiedPlace } from './logReceipt.ts';
import { parseSignedStatement, type SignedStatement } from './signedStatement.ts';

/** `application/scitt-statement+cose`: a signed statement, transparent where it has receipts (RFC 9943). */
export const STATEMENT_MEDIA_TYPE = 'application/scitt-statement+cose';
export const LOG_RECEIPT_MEDIA_TYPE = 'application/scitt-receipt+cose';

const TAG_AND_ARRAY = Uint8Array.of(0xd2, 0x84);
const MAX_RECEIPTS = 16;

/** Puts receipts into the unprotected header of a log entry: `{394: [+ bstr]}`. */
export function encodeTransparentStatement(entry: Uint8Array, receipts: readonly Uint8Array[]): Uint8Array {
  const { protectedBytes, payload, signature } = parseSign1(entry);
  const header = new Map([[HEADER.receipts, receipts]]);
  const items = [protectedBytes, header, payload, signature];
  return concat(TAG_AND_ARRAY, ...items.map((item) => encodeDc(item)));
}

export interface TransparentStatement extends SignedStatement {
  /** Whole receipts as found; none of them is verified. */
  readonly receipts: readonly Uint8Array[];
}

/** Parses a signed statement with 1 to 16 receipts. What else stands in its unprotected header says nothing. */
export function parseTransparentStatement(bytes: Uint8Array): TransparentStatement {
  const statement = parseSignedStatement(bytes);
  const list = statement.unprotectedHeader.get(HEADER.receipts);
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_RECEIPTS) {
    throw malformed(`it does not have 1 to ${MAX_RECEIPTS} receipts`);
  }
  return { ...statement, receipts: (list as readonly unknown[]).map(asReceipt) };
}

function asReceipt(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  throw malformed('a receipt is no byte string');
}

/** A statement of which a log is known to hold it. Its own signature is another question. */
export interface LoggedStatement {
  readonly statement: TransparentStatement;
  /** One for each receipt by the keyset's inclusion key, at least one. */
  readonly places: readonly VerifiedPlace[];
}

/**
 * Verifies that the log of `keyset` holds the statement. Every receipt that names the keyset's inclusion key must
 * verify, and there must be one; receipts of other services are passed over, as nothing is known of their keys.
 */
export async function verifyLoggedStatement(
  bytes: Uint8Array,
  keyset: Keyset,
  crypto: CryptoProvider,
): Promise<LoggedStatement> {
  const statement = parseTransparentStatement(bytes);
  const kid = keyThumbprint(keyset.inclusion, crypto);
  const ours = statement.receipts.filter((receipt) => namesKey(receipt, kid));
  if (ours.length === 0) {
    throw new Refusal('KEYSET_MISMATCH', 'no receipt of the statement is by the inclusion key of the keyset');
  }
  const places: VerifiedPlace[] = [];
  for (const receipt of ours) {
    places.push(await verifyLogReceipt(receipt, statement.entry, keyset, crypto));
  }
  return { statement, places };
}

function namesKey(receipt: Uint8Array, kid: Uint8Array): boolean {
  const named = parseForeignSign1(receipt).protectedHeader.get(HEADER.kid);
  return named instanceof Uint8Array && equalBytes(named, kid);
}

/** A receipt of an answer, signed by the keyset's receipt key and held by its log at its own index. */
export interface TransparentReceipt {
  readonly receipt: ParsedReceipt;
  readonly places: readonly VerifiedPlace[];
}

/**
 * Verifies the transparent statement of an answer's receipt: signature and claims by the receipt key, places by the
 * inclusion key. The index that the claims state must be the place's. The keyset must come from verified evidence.
 */
export async function verifyTransparentReceipt(
  bytes: Uint8Array,
  keyset: Keyset,
  crypto: CryptoProvider,
): Promise<TransparentReceipt> {
  const { statement, places } = await verifyLoggedStatement(bytes, keyset, crypto);
  const receipt = parseReceipt(statement.entry);
  await verifyEntry(receipt, keyset.receipt, keyset.instance, crypto);
  if (places.some(({ index }) => index !== receipt.claims.index)) {
    throw new Refusal('INCLUSION_INVALID', `the receipt is not at its index ${receipt.claims.index}`);
  }
  return { receipt, places };
}

function malformed(detail: string): Refusal {
  return new Refusal('MALFORMED', `transparent statement: ${detail}`);
}
