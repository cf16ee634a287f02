import { decodeForeign } from '../cbor/foreign.ts';
import { encodeDc, type Dc, type DcMap } from '../cbor/deterministic.ts';
import { HEADER, parseForeignSign1, sigStructure, type ForeignHeader } from '../cose/sign1.ts';
import { sha256With, type CryptoProvider, type SignatureScheme } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { HASH_LENGTH, rootFromInclusion, verifyConsistency } from './merkle.ts';
import type { ConsistencyProof, InclusionProof } from './merkle.ts';

/** Verifiable data structure 1: RFC9162_SHA256 (RFC 9942 section 4.2). */
export const VDS_RFC9162_SHA256 = 1;
const VDP = { inclusion: -1, consistency: -2 } as const;
/** A tree of 2^53-1 leaves is 53 high; a consistency path may have one hash more. */
const MAX_PATH = 54;
const MAX_RECEIPT_BYTES = 64 * 1024;

/** An RFC 9942 receipt, read and not verified: whoever carried it may have chosen every proof in it. */
export interface CoseReceipt<Proof> {
  /** Covered by the signature; the proof's size and index are not, unless the issuer put them here as well. */
  readonly protectedHeader: ForeignHeader;
  readonly protectedBytes: Uint8Array;
  readonly alg: number;
  readonly proof: Proof;
  readonly signature: Uint8Array;
}

export type InclusionReceipt = CoseReceipt<InclusionProof>;
export type ConsistencyReceipt = CoseReceipt<ConsistencyProof>;

/** The key of a receipt's issuer, taken by role, with the COSE algorithm ids that the role allows. */
export interface ReceiptKey {
  readonly algs: readonly number[];
  readonly scheme: SignatureScheme;
  readonly spki: Uint8Array;
}

export function parseInclusionReceipt(bytes: Uint8Array): InclusionReceipt {
  const { receipt, proof } = parseReceipt(bytes, VDP.inclusion);
  const [size, index, path] = parseProof(proof);
  return { ...receipt, proof: { size, index, path } };
}

export function parseConsistencyReceipt(bytes: Uint8Array): ConsistencyReceipt {
  const { receipt, proof } = parseReceipt(bytes, VDP.consistency);
  const [size1, size2, path] = parseProof(proof);
  return { ...receipt, proof: { size1, size2, path } };
}

/**
 * Verifies that the issuer signed a root of a tree that holds `leaf` (RFC 9942 section 5.2), and returns that root.
 * Size and index are proved only as far as the path's shape goes: callers who rely on them compare the protected
 * header or a checkpoint.
 */
export async function verifyInclusionReceipt(
  receipt: InclusionReceipt,
  leaf: Uint8Array,
  key: ReceiptKey,
  crypto: CryptoProvider,
): Promise<Uint8Array> {
  const root = rootFromInclusion(sha256With(crypto), receipt.proof, leaf);
  await verifyRootSignature(receipt, root, key, crypto);
  return root;
}

/** Verifies that the issuer signed `root2` and that its tree extends the one of `root1` (RFC 9942 section 5.3). */
export async function verifyConsistencyReceipt(
  receipt: ConsistencyReceipt,
  roots: { readonly root1: Uint8Array; readonly root2: Uint8Array },
  key: ReceiptKey,
  crypto: CryptoProvider,
): Promise<void> {
  await verifyRootSignature(receipt, roots.root2, key, crypto);
  verifyConsistency(sha256With(crypto), receipt.proof, roots.root1, roots.root2);
}

async function verifyRootSignature(
  receipt: CoseReceipt<unknown>,
  root: Uint8Array,
  key: ReceiptKey,
  crypto: CryptoProvider,
): Promise<void> {
  if (!key.algs.includes(receipt.alg)) {
    throw new Refusal('ALGORITHM_MISMATCH', `the COSE receipt names algorithm ${receipt.alg}`);
  }
  const data = sigStructure(receipt.protectedBytes, root);
  if (!(await crypto.verify(key.scheme, key.spki, data, receipt.signature))) {
    throw new Refusal('SIGNATURE_INVALID', 'the signature of the COSE receipt does not verify');
  }
}

/** The unprotected header of a receipt: `{396: {-1: [proof]}}`, with `[size, index, [path]]` as a byte string. */
export function encodeInclusionHeader({ size, index, path }: InclusionProof): DcMap {
  return proofHeader(VDP.inclusion, [size, index, path]);
}

/** The unprotected header of a consistency receipt: `{396: {-2: [proof]}}`. */
export function encodeConsistencyHeader({ size1, size2, path }: ConsistencyProof): DcMap {
  return proofHeader(VDP.consistency, [size1, size2, path]);
}

function proofHeader(kind: number, proof: Dc): DcMap {
  return new Map([[HEADER.vdp, new Map([[kind, [encodeDc(proof)]]])]]);
}

function parseReceipt(
  bytes: Uint8Array,
  kind: number,
): { readonly receipt: Omit<CoseReceipt<never>, 'proof'>; readonly proof: Uint8Array } {
  if (bytes.length > MAX_RECEIPT_BYTES) throw malformed(`${bytes.length} bytes are too many`);
  const sign1 = parseForeignSign1(bytes);
  if (!sign1.tagged) throw malformed('it has no tag 18');
  // An attached payload could be believed instead of the root that the path leads to.
  if (sign1.payload) throw malformed('its payload is attached');
  const { protectedHeader, protectedBytes, signature } = sign1;
  if (protectedHeader.get(HEADER.vds) !== VDS_RFC9162_SHA256) {
    throw new Refusal('UNSUPPORTED', 'the COSE receipt is over another tree than RFC9162_SHA256');
  }
  const alg = protectedHeader.get(HEADER.alg);
  if (typeof alg !== 'number') throw malformed('its algorithm is not protected');
  return {
    receipt: { protectedHeader, protectedBytes, alg, signature },
    proof: onlyProof(sign1.unprotectedHeader, kind),
  };
}

function onlyProof(header: ForeignHeader, kind: number): Uint8Array {
  const proofs: unknown = header.get(HEADER.vdp);
  if (!(proofs instanceof Map) || proofs.size !== 1) throw malformed('it does not hold one kind of proof');
  const list: unknown = proofs.get(kind);
  if (!Array.isArray(list) || list.length !== 1) throw malformed('it does not hold one proof of its kind');
  const [proof] = list as readonly unknown[];
  if (!(proof instanceof Uint8Array)) throw malformed('its proof is not a byte string');
  return proof;
}

/** `[number, number, [+ hash]]`; the path is empty for the only leaf of a tree, whatever the RFC's CDDL says. */
function parseProof(bytes: Uint8Array): readonly [number, number, readonly Uint8Array[]] {
  const value = decodeForeign(bytes);
  if (!Array.isArray(value) || value.length !== 3) throw malformed('its proof is not an array of three');
  const [first, second, path] = value as readonly unknown[];
  if (!Array.isArray(path) || path.length > MAX_PATH) throw malformed('its path is no array of hashes');
  return [asSize(first), asSize(second), path.map(asHash)];
}

function asSize(value: unknown): number {
  // Integers of 64 bits come as BigInt.
  const size = typeof value === 'bigint' ? Number(value) : value;
  if (typeof size === 'number' && Number.isSafeInteger(size) && size >= 0) return size;
  throw malformed('a size or index is no integer within 0 and 2^53-1');
}

function asHash(value: unknown): Uint8Array {
  if (value instanceof Uint8Array && value.length === HASH_LENGTH) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  throw malformed('a hash is not 32 bytes');
}

function malformed(detail: string): Refusal {
  return new Refusal('MALFORMED', `COSE receipt: ${detail}`);
}
