import { concat, equalBytes } from '../bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc, type DcMap } from '../cbor/deterministic.ts';
import { asBytes, asClosedMap, asCount, asInteger, asText } from '../cbor/shape.ts';
import { hasLowS, keyScheme, keySpki, keyThumbprint, ALG, type Alg } from '../cose/key.ts';
import { HEADER } from '../cose/sign1.ts';
import { sha256With, type CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { instanceUrn, type Keyset } from '../keyset.ts';
import {
  encodeConsistencyHeader,
  encodeInclusionHeader,
  parseConsistencyReceipt,
  parseInclusionReceipt,
  VDS_RFC9162_SHA256,
  verifyConsistencyReceipt,
  verifyInclusionReceipt,
  type CoseReceipt,
  type ReceiptKey,
} from './coseReceipt.ts';
import { leafHash, type ConsistencyProof, type InclusionProof } from './merkle.ts';

/**
 * Private header labels (RFC 9052 section 11.1) of the receipts of our logs, always protected. RFC 9942 signs the
 * root alone, and one path fits several sizes and indexes: what relies on them takes them from here.
 */
export const PLACE = {
  /** Text: origin of the log, as in its checkpoints. */
  origin: -65700,
  /** Size of the tree; of the newer one in a consistency receipt. */
  size: -65701,
  /** Index of the entry; inclusion only. */
  index: -65702,
  /** Size of the older tree; consistency only. */
  oldSize: -65703,
} as const;

const CWT = { iss: 1, sub: 2 } as const;
const TAG_AND_ARRAY = Uint8Array.of(0xd2, 0x84);
const NIL = Uint8Array.of(0xf6);

/** Who signs the receipts of a log. */
export interface LogReceiptIssuer {
  readonly alg: Alg;
  /** RFC 9679 thumbprint of the inclusion key. */
  readonly kid: Uint8Array;
  /** `urn:uuid:` of the instance. */
  readonly issuer: string;
  readonly origin: string;
}

/** The issuer that a keyset names. */
export function logReceiptIssuer(keyset: Keyset, crypto: CryptoProvider): LogReceiptIssuer {
  const { inclusion, instance, origin } = keyset;
  return {
    alg: inclusion.alg,
    kid: keyThumbprint(inclusion, crypto),
    issuer: instanceUrn(instance),
    origin,
  };
}

type Members = readonly (readonly [number, number])[];

function inclusionMembers({ size, index }: Pick<InclusionProof, 'size' | 'index'>): Members {
  return [
    [PLACE.size, size],
    [PLACE.index, index],
  ];
}

function consistencyMembers({ size1, size2 }: Pick<ConsistencyProof, 'size1' | 'size2'>): Members {
  return [
    [PLACE.size, size2],
    [PLACE.oldSize, size1],
  ];
}

/** Protected header of an inclusion receipt: alg, kid, CWT claims, vds and the place of the entry. */
export function inclusionProtected(issuer: LogReceiptIssuer, proof: InclusionProof): Uint8Array {
  return encodeDc(protectedHeader(issuer, inclusionMembers(proof)));
}

export function consistencyProtected(issuer: LogReceiptIssuer, proof: ConsistencyProof): Uint8Array {
  return encodeDc(protectedHeader(issuer, consistencyMembers(proof)));
}

function protectedHeader(signer: LogReceiptIssuer, members: Members): DcMap {
  const claims = new Map<number, Dc>([
    [CWT.iss, signer.issuer],
    [CWT.sub, signer.origin],
  ]);
  return new Map<number, Dc>([
    [HEADER.alg, signer.alg],
    [HEADER.kid, signer.kid],
    [HEADER.cwtClaims, claims],
    [HEADER.vds, VDS_RFC9162_SHA256],
    [PLACE.origin, signer.origin],
    ...members,
  ]);
}

/** A receipt of RFC 9942: tagged COSE_Sign1 with the payload, the root, detached. */
export function encodeInclusionReceipt(
  header: Uint8Array,
  proof: InclusionProof,
  signature: Uint8Array,
): Uint8Array {
  return encodeReceipt(header, encodeInclusionHeader(proof), signature);
}

export function encodeConsistencyReceipt(
  header: Uint8Array,
  proof: ConsistencyProof,
  signature: Uint8Array,
): Uint8Array {
  return encodeReceipt(header, encodeConsistencyHeader(proof), signature);
}

function encodeReceipt(header: Uint8Array, unprotected: DcMap, signature: Uint8Array): Uint8Array {
  return concat(TAG_AND_ARRAY, encodeDc(header), encodeDc(unprotected), NIL, encodeDc(signature));
}

declare const verified: unique symbol;

/** Where the log of a keyset holds an entry; signed, all of it. */
export interface VerifiedPlace {
  readonly [verified]: 'place';
  readonly origin: string;
  readonly size: number;
  readonly index: number;
  /** Root of the first `size` entries. */
  readonly root: Uint8Array;
}

/**
 * Verifies an inclusion receipt of the log of `keyset` over the bytes of an entry. Refused: another key, algorithm,
 * issuer or log, a size or index that is not the signed one (`INCLUSION_INVALID`), another entry.
 */
export async function verifyLogReceipt(
  encoded: Uint8Array,
  entry: Uint8Array,
  keyset: Keyset,
  crypto: CryptoProvider,
): Promise<VerifiedPlace> {
  const receipt = parseInclusionReceipt(encoded);
  requireHeader(receipt, keyset, inclusionMembers(receipt.proof), 'INCLUSION_INVALID', crypto);
  const leaf = leafHash(sha256With(crypto), entry);
  const root = await verifyInclusionReceipt(receipt, leaf, receiptKey(keyset), crypto);
  const { size, index } = receipt.proof;
  return { origin: keyset.origin, size, index, root } as VerifiedPlace;
}

/** A later tree of the log of a keyset extends an earlier one. */
export interface VerifiedGrowth {
  readonly [verified]: 'growth';
  readonly origin: string;
  readonly size1: number;
  readonly size2: number;
}

/** Verifies a consistency receipt of the log of `keyset` between two roots; refuses like `verifyLogReceipt`. */
export async function verifyLogGrowth(
  encoded: Uint8Array,
  roots: { readonly root1: Uint8Array; readonly root2: Uint8Array },
  keyset: Keyset,
  crypto: CryptoProvider,
): Promise<VerifiedGrowth> {
  const receipt = parseConsistencyReceipt(encoded);
  requireHeader(receipt, keyset, consistencyMembers(receipt.proof), 'CONSISTENCY_INVALID', crypto);
  await verifyConsistencyReceipt(receipt, roots, receiptKey(keyset), crypto);
  const { size1, size2 } = receipt.proof;
  return { origin: keyset.origin, size1, size2 } as VerifiedGrowth;
}

function receiptKey({ inclusion }: Keyset): ReceiptKey {
  return { algs: [inclusion.alg], scheme: keyScheme(inclusion), spki: keySpki(inclusion) };
}

/** The header is exactly the one that the log writes over the proof that was carried. */
function requireHeader(
  receipt: CoseReceipt<unknown>,
  keyset: Keyset,
  members: Members,
  code: 'INCLUSION_INVALID' | 'CONSISTENCY_INVALID',
  crypto: CryptoProvider,
): void {
  const expected = logReceiptIssuer(keyset, crypto);
  const header = parseHeader(receipt.protectedBytes, members);
  if (header.alg !== expected.alg || !equalBytes(header.kid, expected.kid)) {
    throw new Refusal('ALGORITHM_MISMATCH', 'alg or kid is not that of the inclusion key');
  }
  const { issuer, origin } = expected;
  if (header.issuer !== issuer || header.subject !== origin || header.origin !== origin) {
    throw new Refusal('KEYSET_MISMATCH', `the COSE receipt is of ${header.origin}, not of ${origin}`);
  }
  if (header.place.some((value, i) => value !== members[i]?.[1])) {
    throw new Refusal(code, 'the signed place is not that of the proof');
  }
  if (expected.alg === ALG.es256 && !hasLowS(receipt.signature)) {
    throw new Refusal('SIGNATURE_MALLEABLE', 'COSE receipt: s is above n/2');
  }
}

interface LogReceiptHeader {
  readonly alg: number;
  readonly kid: Uint8Array;
  readonly issuer: string;
  readonly subject: string;
  readonly origin: string;
  /** Values of the labels that the kind of receipt has, in their order. */
  readonly place: readonly number[];
}

/** Parses a protected header of exactly the members that our receipts have. */
function parseHeader(bytes: Uint8Array, members: Members): LogReceiptHeader {
  const labels = members.map(([label]) => label);
  const known = [HEADER.alg, HEADER.kid, HEADER.cwtClaims, HEADER.vds, PLACE.origin, ...labels];
  const map = asClosedMap(decodeDc(bytes), 'COSE receipt header', known);
  const claims = asClosedMap(map.get(HEADER.cwtClaims), 'CWT claims', [CWT.iss, CWT.sub]);
  return {
    alg: asInteger(map.get(HEADER.alg), 'alg'),
    kid: asBytes(map.get(HEADER.kid), 'kid'),
    issuer: asText(claims.get(CWT.iss), 'iss'),
    subject: asText(claims.get(CWT.sub), 'sub'),
    origin: asText(map.get(PLACE.origin), 'origin'),
    place: labels.map((label) => asCount(map.get(label), `label ${label}`)),
  };
}
