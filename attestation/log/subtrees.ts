/** Leaves `start` to `end` - 1 of a tree. */
export interface LeafRange {
  readonly start: number;
  readonly end: number;
}

/** A complete subtree: node `index` of the level that is `level` above the leaves, over 2^level of them. */
export interface Subtree {
  readonly level: number;
  readonly index: number;
}

/** The ranges whose roots form an inclusion path, from the leaf upwards (RFC 9162 section 2.1.3.1). */
export function inclusionRanges(index: number, size: number): readonly LeafRange[] {
  requireOrder(0, index);
  requireOrder(index + 1, size);
  return pathRanges({ start: 0, end: size }, index);
}

function pathRanges({ start, end }: LeafRange, index: number): LeafRange[] {
  if (end - start === 1) return [];
  const middle = start + largestPowerBelow(end - start);
  return index < middle
    ? [...pathRanges({ start, end: middle }, index), { start: middle, end }]
    : [...pathRanges({ start: middle, end }, index), { start, end: middle }];
}

/** The ranges whose roots form a consistency path (RFC 9162 section 2.1.4.1). `size1` is at least 1. */
export function consistencyRanges(size1: number, size2: number): readonly LeafRange[] {
  requireOrder(1, size1);
  requireOrder(size1, size2);
  return subproofRanges(size1, { start: 0, end: size2 }, true);
}

/** `known`: the verifier holds the root of these leaves already. */
function subproofRanges(size1: number, { start, end }: LeafRange, known: boolean): LeafRange[] {
  if (size1 === end) return known ? [] : [{ start, end }];
  const middle = start + largestPowerBelow(end - start);
  return size1 <= middle
    ? [...subproofRanges(size1, { start, end: middle }, known), { start: middle, end }]
    : [...subproofRanges(size1, { start: middle, end }, false), { start, end: middle }];
}

/**
 * A range as complete subtrees of falling size. It must start where the ranges above do: at a multiple of the
 * smallest power of two that is at least its length.
 */
export function completeSubtrees({ start, end }: LeafRange): readonly Subtree[] {
  const subtrees: Subtree[] = [];
  let next = start;
  while (next < end) {
    const level = Math.floor(Math.log2(largestPowerBelow(end - next + 1)));
    subtrees.push({ level, index: next / 2 ** level });
    next += 2 ** level;
  }
  return subtrees;
}

/** The largest power of two below `value`, which is at least 2. */
export function largestPowerBelow(value: number): number {
  let power = 1;
  while (power * 2 < value) power *= 2;
  return power;
}

function requireOrder(low: number, high: number): void {
  if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || low > high) {
    throw new RangeError(`${low} is above ${high}`);
  }
}
