import { equalBytes } from '../bytes/bytes.ts';
import { encodeDc, type Dc } from '../cbor/deterministic.ts';
import { asBytes, asClosedMap, asInteger, asLabel, asText } from '../cbor/shape.ts';
import { keyThumbprint, verifySignature, type Alg, type CoseKey } from '../cose/key.ts';
import { encodeSign1, HEADER, parseSign1, sigStructure, type Sign1 } from '../cose/sign1.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { instanceUrn } from '../keyset.ts';
import { parseClaims, type ReceiptClaims } from './claims.ts';

export const RECEIPT_TYPE = 'application/vouchsafe-receipt+cose';
export const RECORD_TYPE = 'application/vouchsafe-record+cose';
type EntryType = typeof RECEIPT_TYPE | typeof RECORD_TYPE;

const CWT_ISS = 1;
const CWT_SUB = 2;

/** Protected header of a log entry: the SCITT shape (RFC 9943). */
export interface EntryHeader {
  readonly alg: Alg;
  /** RFC 9679 thumbprint of the receipt key. */
  readonly kid: Uint8Array;
  readonly type: EntryType;
  /** `urn:uuid:` of the instance. */
  readonly issuer: string;
  /** Model of a receipt, kind of a record. */
  readonly subject: string;
}

export function encodeEntryHeader(header: EntryHeader): Uint8Array {
  const claims = new Map<number, Dc>([
    [CWT_ISS, header.issuer],
    [CWT_SUB, header.subject],
  ]);
  return encodeDc(
    new Map<number, Dc>([
      [HEADER.alg, header.alg],
      [HEADER.kid, header.kid],
      [HEADER.cwtClaims, claims],
      [HEADER.typ, header.type],
    ]),
  );
}

/** Parses a protected header of exactly the five members. */
export function parseEntryHeader(sign1: Sign1, type: EntryType): EntryHeader {
  const known = [HEADER.alg, HEADER.kid, HEADER.cwtClaims, HEADER.typ];
  const map = asClosedMap(sign1.protectedHeader, 'protected header', known);
  asLabel(map.get(HEADER.typ), 'typ', type);
  const claims = asClosedMap(map.get(HEADER.cwtClaims), 'CWT claims', [CWT_ISS, CWT_SUB]);
  return {
    alg: asInteger(map.get(HEADER.alg), 'alg') as Alg,
    kid: asBytes(map.get(HEADER.kid), 'kid'),
    type,
    issuer: asText(claims.get(CWT_ISS), 'iss'),
    subject: asText(claims.get(CWT_SUB), 'sub'),
  };
}

/** A receipt as parsed: its signature is not checked. */
export interface ParsedReceipt {
  readonly encoded: Uint8Array;
  readonly sign1: Sign1;
  readonly header: EntryHeader;
  readonly claims: ReceiptClaims;
}

/** Parses a receipt. The header's subject must be the model that the claims name. */
export function parseReceipt(encoded: Uint8Array): ParsedReceipt {
  const sign1 = parseSign1(encoded);
  const header = parseEntryHeader(sign1, RECEIPT_TYPE);
  const claims = parseClaims(sign1.payload);
  if (header.subject !== claims.model) throw new Refusal('MALFORMED', 'sub and model claim differ');
  return { encoded, sign1, header, claims };
}

/**
 * Verifies the signature of an entry under the key taken by role from a verified keyset; `alg`, `kid` and issuer
 * must then agree with it.
 */
export async function verifyEntry(
  entry: { readonly sign1: Sign1; readonly header: EntryHeader },
  key: CoseKey,
  instance: Uint8Array,
  crypto: CryptoProvider,
): Promise<void> {
  const { header, sign1 } = entry;
  if (header.alg !== key.alg || !equalBytes(header.kid, keyThumbprint(key, crypto))) {
    throw new Refusal('ALGORITHM_MISMATCH', 'alg or kid is not that of the receipt key');
  }
  if (header.issuer !== instanceUrn(instance)) {
    throw new Refusal('KEYSET_MISMATCH', `${header.issuer} is not the instance of the keyset`);
  }
  const signed = sigStructure(sign1.protectedBytes, sign1.payload);
  await verifySignature(key, signed, sign1.signature, crypto, 'receipt');
}

/** Bytes of the log entry: the receipt rebuilt with shortest lengths, which for a parsed one are its own bytes. */
export function entryBytes(sign1: Sign1): Uint8Array {
  return encodeSign1(sign1.protectedBytes, sign1.payload, sign1.signature);
}
