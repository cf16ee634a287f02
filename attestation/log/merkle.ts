import { concat, equalBytes } from '../bytes/bytes.ts';
import type { Sha256 } from '../crypto/provider.ts';
import { Refusal, type RefusalCode } from '../errors.ts';

/** Length of every hash of an RFC 9162 tree over SHA-256. */
export const HASH_LENGTH = 32;

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** SHA-256(0x00 || entry), RFC 9162 section 2.1.1. */
export function leafHash(sha256: Sha256, entry: Uint8Array): Uint8Array {
  return sha256(concat(LEAF, entry));
}

/** SHA-256(0x01 || left || right), RFC 9162 section 2.1.1. */
export function nodeHash(sha256: Sha256, left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(concat(NODE, left, right));
}

/** Root of the tree without leaves: SHA-256 of nothing. */
export function emptyRoot(sha256: Sha256): Uint8Array {
  return sha256(new Uint8Array(0));
}

export interface InclusionProof {
  readonly index: number;
  readonly size: number;
  /** Sibling hashes from the leaf upwards. */
  readonly path: readonly Uint8Array[];
}

export interface ConsistencyProof {
  readonly size1: number;
  readonly size2: number;
  readonly path: readonly Uint8Array[];
}

/**
 * Root that `leaf` at `index` and the path lead to (RFC 9162 section 2.1.3.2, all but the last comparison).
 * Whoever wrote the path chose the root: it says something only once a signature covers it.
 */
export function rootFromInclusion(sha256: Sha256, proof: InclusionProof, leaf: Uint8Array): Uint8Array {
  const { index, size, path } = proof;
  requireSize(size, 'INCLUSION_INVALID');
  requireSize(index, 'INCLUSION_INVALID');
  if (index >= size) throw new Refusal('INCLUSION_INVALID', `index ${index} is outside a tree of ${size}`);
  requireHashes([leaf, ...path], 'INCLUSION_INVALID');
  let position = { fn: index, sn: size - 1 };
  let root = leaf;
  for (const sibling of path) {
    if (position.sn === 0) throw new Refusal('INCLUSION_INVALID', 'the inclusion path is too long');
    if (isRight(position)) {
      root = nodeHash(sha256, sibling, root);
      position = climb(position);
    } else root = nodeHash(sha256, root, sibling);
    position = parent(position);
  }
  if (position.sn !== 0) throw new Refusal('INCLUSION_INVALID', 'the inclusion path is too short');
  return root;
}

/** Refuses as `INCLUSION_INVALID` unless the tree with `root` holds `leaf` at the proof's index. */
export function verifyInclusion(
  sha256: Sha256,
  proof: InclusionProof,
  leaf: Uint8Array,
  root: Uint8Array,
): void {
  requireHashes([root], 'INCLUSION_INVALID');
  if (!equalBytes(rootFromInclusion(sha256, proof, leaf), root)) {
    throw new Refusal('INCLUSION_INVALID', `leaf ${proof.index} is not in the tree of ${proof.size}`);
  }
}

/**
 * Both roots that a consistency path leads to (RFC 9162 section 2.1.4.2, all but the last comparison). The first
 * root is an input where the path leaves it out: equal sizes, or `size1` a power of two. Nothing is proved from
 * size 0, with which every tree is consistent.
 */
export function rootsFromConsistency(
  sha256: Sha256,
  proof: ConsistencyProof,
  root1: Uint8Array,
): { readonly root1: Uint8Array; readonly root2: Uint8Array } {
  requireConsistencySizes(proof);
  const { size1, size2, path } = proof;
  requireHashes([root1, ...path], 'CONSISTENCY_INVALID');
  if (size1 === size2) {
    if (path.length > 0) throw new Refusal('CONSISTENCY_INVALID', 'equal sizes need an empty path');
    return { root1, root2: root1 };
  }
  const [start, ...rest] = isPowerOfTwo(size1) ? [root1, ...path] : path;
  if (!start || path.length === 0) throw new Refusal('CONSISTENCY_INVALID', 'the consistency path is empty');
  return walkConsistency(sha256, { fn: size1 - 1, sn: size2 - 1 }, start, rest);
}

/** Refuses as `CONSISTENCY_INVALID` unless the second tree extends the first. */
export function verifyConsistency(
  sha256: Sha256,
  proof: ConsistencyProof,
  root1: Uint8Array,
  root2: Uint8Array,
): void {
  requireHashes([root2], 'CONSISTENCY_INVALID');
  const roots = rootsFromConsistency(sha256, proof, root1);
  if (!equalBytes(roots.root1, root1) || !equalBytes(roots.root2, root2)) {
    throw new Refusal(
      'CONSISTENCY_INVALID',
      `the tree of ${proof.size2} does not extend the tree of ${proof.size1}`,
    );
  }
}

function walkConsistency(
  sha256: Sha256,
  sizes: Position,
  start: Uint8Array,
  path: readonly Uint8Array[],
): { readonly root1: Uint8Array; readonly root2: Uint8Array } {
  let position = sizes;
  while (isOdd(position.fn)) position = parent(position);
  let root1 = start;
  let root2 = start;
  for (const hash of path) {
    if (position.sn === 0) throw new Refusal('CONSISTENCY_INVALID', 'the consistency path is too long');
    if (isRight(position)) {
      root1 = nodeHash(sha256, hash, root1);
      root2 = nodeHash(sha256, hash, root2);
      position = climb(position);
    } else root2 = nodeHash(sha256, root2, hash);
    position = parent(position);
  }
  if (position.sn !== 0) throw new Refusal('CONSISTENCY_INVALID', 'the consistency path is too short');
  return { root1, root2 };
}

/** A node (fn) and the last node (sn) of its level, as RFC 9162 names them. */
interface Position {
  readonly fn: number;
  readonly sn: number;
}

function isRight({ fn, sn }: Position): boolean {
  return isOdd(fn) || fn === sn;
}

/** Skips the levels where the last node has no sibling and is promoted. */
function climb(position: Position): Position {
  let next = position;
  while (!isOdd(next.fn) && next.fn !== 0) next = parent(next);
  return next;
}

// Bit shifts of JavaScript work on 32 bits; sizes go to 2^53 - 1.
function parent({ fn, sn }: Position): Position {
  return { fn: Math.floor(fn / 2), sn: Math.floor(sn / 2) };
}

function isOdd(value: number): boolean {
  return value % 2 === 1;
}

function isPowerOfTwo(value: number): boolean {
  let rest = value;
  while (rest > 1 && !isOdd(rest)) rest /= 2;
  return rest === 1;
}

function requireConsistencySizes({ size1, size2 }: ConsistencyProof): void {
  requireSize(size1, 'CONSISTENCY_INVALID');
  requireSize(size2, 'CONSISTENCY_INVALID');
  if (size1 === 0) throw new Refusal('CONSISTENCY_INVALID', 'nothing is proved from an empty tree');
  if (size1 > size2) throw new Refusal('CONSISTENCY_INVALID', `a tree of ${size1} shrank to ${size2}`);
}

function requireSize(value: number, code: RefusalCode): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new Refusal(code, 'a size or index is no integer within 0 and 2^53-1');
  }
}

function requireHashes(hashes: readonly Uint8Array[], code: RefusalCode): void {
  if (hashes.some((hash) => hash.length !== HASH_LENGTH)) {
    throw new Refusal(code, `a hash is not ${HASH_LENGTH} bytes`);
  }
}
