import { equalBytes } from '../bytes/bytes.ts';
import type { Sha256 } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { foldRoots } from './frontier.ts';
import type { MemoryTree } from './memoryTree.ts';
import { HASH_LENGTH, nodeHash } from './merkle.ts';
import { completeSubtrees, largestPowerBelow, type LeafRange } from './subtrees.ts';

/** Both edges of a range in a tree of 2^53 leaves. */
export const MAX_RANGE_PATH = 2 * 53;

/** Shows that adjacent leaves, from `start` on, are those of a tree of `size`. */
export interface RangeProof {
  readonly start: number;
  readonly size: number;
  /** Roots of what lies beside the range, in the order of `outsideRanges`. For one leaf it is the inclusion path. */
  readonly path: readonly Uint8Array[];
}

/**
 * The parts of a tree of `size` that lie beside the range, at most two for each level. At each node that the range
 * does not fill the halves that it touches come first, then a half that it does not touch: of one leaf these are the
 * ranges of RFC 9162 section 2.1.3.1, from the leaf upwards.
 */
export function outsideRanges(range: LeafRange, size: number): readonly LeafRange[] {
  requireRange(range, size);
  return outside(range, { start: 0, end: size });
}

function outside(range: LeafRange, node: LeafRange): LeafRange[] {
  if (fills(range, node)) return [];
  const [left, right] = halves(node);
  if (!touches(range, left)) return [...outside(range, right), left];
  if (!touches(range, right)) return [...outside(range, left), right];
  return [...outside(range, left), ...outside(range, right)];
}

/** The proof for the leaves of a tree in memory; a range outside the tree, or an empty one, is misuse. */
export function rangeProof(sha256: Sha256, tree: MemoryTree, range: LeafRange): RangeProof {
  const rootOf = (part: LeafRange): Uint8Array => {
    const roots = completeSubtrees(part).map(({ level, index }) => tree.subtreeRoot(level, index));
    return foldRoots(sha256, roots as readonly Uint8Array[]);
  };
  const path = outsideRanges(range, tree.size).map(rootOf);
  return { start: range.start, size: tree.size, path };
}

/** Root that the leaves of a range and the path lead to: it says something only once a signature covers it. */
export function rootFromRange(
  sha256: Sha256,
  { start, size, path }: RangeProof,
  leafHashes: readonly Uint8Array[],
): Uint8Array {
  const range = { start, end: start + leafHashes.length };
  if (!isRange(range, size)) {
    throw invalid(`leaves ${start} to ${range.end - 1} are no range of a tree of ${size}`);
  }
  if (path.length > MAX_RANGE_PATH || [...leafHashes, ...path].some(({ length }) => length !== HASH_LENGTH)) {
    throw invalid(`a hash is not ${HASH_LENGTH} bytes, or there are too many`);
  }
  const given = path[Symbol.iterator]();
  const next = (): Uint8Array => {
    const { value, done } = given.next();
    if (done === true) throw invalid('the path is too short');
    return value;
  };
  const climb = (node: LeafRange): Uint8Array => {
    if (node.end - node.start === 1) return leafHashes[node.start - start] ?? next();
    const [left, right] = halves(node);
    // Hashes lie in the order of `outsideRanges`: what the range touches comes first.
    if (!touches(range, left)) {
      const rightRoot = climb(right);
      return nodeHash(sha256, next(), rightRoot);
    }
    const leftRoot = climb(left);
    return nodeHash(sha256, leftRoot, touches(range, right) ? climb(right) : next());
  };
  const root = climb({ start: 0, end: size });
  if (given.next().done !== true) throw invalid('the path is too long');
  return root;
}

/** Refuses as `INCLUSION_INVALID` unless the tree with `root` holds exactly these leaves from `start` on. */
export function verifyRange(
  sha256: Sha256,
  proof: RangeProof,
  leafHashes: readonly Uint8Array[],
  root: Uint8Array,
): void {
  if (!equalBytes(rootFromRange(sha256, proof, leafHashes), root)) {
    throw invalid(`the leaves from ${proof.start} on are not in the tree of ${proof.size}`);
  }
}

function halves({ start, end }: LeafRange): readonly [LeafRange, LeafRange] {
  const middle = start + largestPowerBelow(end - start);
  return [
    { start, end: middle },
    { start: middle, end },
  ];
}

function fills(range: LeafRange, node: LeafRange): boolean {
  return range.start <= node.start && node.end <= range.end;
}

function touches(range: LeafRange, node: LeafRange): boolean {
  return range.start < node.end && node.start < range.end;
}

function isRange({ start, end }: LeafRange, size: number): boolean {
  const whole = [start, end, size].every(Number.isSafeInteger);
  return whole && start >= 0 && start < end && end <= size;
}

function requireRange(range: LeafRange, size: number): void {
  if (!isRange(range, size)) {
    throw new RangeError(`${range.start} to ${range.end} is no range of a tree of ${size}`);
  }
}

function invalid(detail: string): Refusal {
  return new Refusal('INCLUSION_INVALID', detail);
}
