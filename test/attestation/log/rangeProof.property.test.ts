import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { equalBytes, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { MemoryTree, rootOf } from '../../../attestation/log/memoryTree.ts';
import { leafHash, rootFromInclusion, verifyInclusion } from '../../../attestation/log/merkle.ts';
import {
  MAX_RANGE_PATH,
  outsideRanges,
  rangeProof,
  rootFromRange,
  type RangeProof,
  verifyRange,
} from '../../../attestation/log/rangeProof.ts';
import { inclusionRanges } from '../../../attestation/log/subtrees.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const sha256 = sha256With(nodeCrypto);
const LEAVES = Array.from({ length: 130 }, (_, i) => leafHash(sha256, utf8(`leaf ${i}`)));

/** A tree of some leaves and a range of it that is not empty. */
const ranges = fc
  .integer({ min: 1, max: 130 })
  .chain((size) =>
    fc
      .integer({ min: 0, max: size - 1 })
      .chain((start) => fc.integer({ min: start + 1, max: size }).map((end) => ({ size, start, end }))),
  );

function made({ size, start, end }: { size: number; start: number; end: number }) {
  const tree = new MemoryTree(sha256, LEAVES.slice(0, size));
  return { tree, proof: rangeProof(sha256, tree, { start, end }), leaves: LEAVES.slice(start, end) };
}

function codeOf(verify: () => unknown): string {
  try {
    verify();
    return 'accepted';
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

test('every range of every small tree leads to the root, and its parts are all that lies beside it', () => {
  for (let size = 1; size <= 20; size++) {
    for (let start = 0; start < size; start++) {
      for (let end = start + 1; end <= size; end++) {
        const { tree, proof, leaves } = made({ size, start, end });
        expect(equalBytes(rootFromRange(sha256, proof, leaves), tree.root)).toBe(true);
        const parts = outsideRanges({ start, end }, size);
        const beside = parts.flatMap((part) => indices(part.start, part.end)).sort((a, b) => a - b);
        expect(beside).toEqual([...indices(0, start), ...indices(end, size)]);
        // Brute force: each hash is the root over the leaves of its part.
        const roots = parts.map((part) => rootOf(sha256, LEAVES.slice(part.start, part.end)));
        expect(proof.path).toEqual(roots);
      }
    }
  }
});

function indices(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i);
}

test(
  'the range of one leaf is its inclusion path, and a longer one holds what each leaf shows alone',
  () => {
    fc.assert(
      fc.property(ranges, (range) => {
        const { tree, proof, leaves } = made(range);
        verifyRange(sha256, proof, leaves, tree.root);
        for (const [i, leaf] of leaves.entries()) {
          const index = range.start + i;
          const path = tree.inclusionPath(index);
          verifyInclusion(sha256, { index, size: range.size, path }, leaf, tree.root);
          const alone = rangeProof(sha256, tree, { start: index, end: index + 1 });
          expect(alone.path).toEqual(path);
          expect(rootFromRange(sha256, alone, [leaf])).toEqual(
            rootFromInclusion(sha256, { index, size: range.size, path }, leaf),
          );
        }
      }),
      propertyRuns(40),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'whatever is altered, left out, doubled or moved is refused',
  () => {
    const changes = fc.record({
      kind: fc.constantFrom('bit', 'leaf', 'order', 'missing', 'extra', 'start', 'size', 'length', 'path'),
      at: fc.nat({ max: 4096 }),
    });
    fc.assert(
      fc.property(ranges, changes, (range, { kind, at }) => {
        const { tree, proof, leaves } = made(range);
        const wrong = altered({ proof, leaves }, kind, at);
        if (!wrong) return;
        expect(
          codeOf(() => {
            verifyRange(sha256, wrong.proof, wrong.leaves, tree.root);
          }),
        ).toBe('INCLUSION_INVALID');
      }),
      propertyRuns(300),
    );
  },
  PROPERTY_TIMEOUT,
);

type Hashes = readonly Uint8Array[];

interface Made {
  readonly proof: RangeProof;
  readonly leaves: Hashes;
}

/** Undefined where the change cannot be made, or changes nothing. */
function altered({ proof, leaves }: Made, kind: string, at: number): Made | undefined {
  const changedLeaves = alteredLeaves(leaves, kind, at);
  if (changedLeaves) return { proof, leaves: changedLeaves };
  const changedPath = alteredPath(proof.path, kind, at);
  if (changedPath) return { proof: { ...proof, path: changedPath }, leaves };
  const step = at % 2 === 0 ? 1 : -1;
  if (kind === 'start') return { proof: { ...proof, start: proof.start + step }, leaves };
  const size = proof.size + step;
  if (kind !== 'size' || sameParts(proof, leaves.length, size)) return undefined;
  return { proof: { ...proof, size }, leaves };
}

function alteredLeaves(leaves: Hashes, kind: string, at: number): Hashes | undefined {
  const i = at % leaves.length;
  if (kind === 'leaf') return leaves.with(i, flipped(leaves[i]!, at));
  if (kind === 'order' && leaves.length > 1) return leaves.toReversed();
  if (kind === 'missing') return leaves.toSpliced(i, 1);
  if (kind === 'extra') return leaves.toSpliced(i, 0, leaves[i]!);
  return undefined;
}

function alteredPath(path: Hashes, kind: string, at: number): Hashes | undefined {
  if (kind === 'length') return [...path, new Uint8Array(32)];
  if (path.length === 0) return undefined;
  const i = at % path.length;
  if (kind === 'bit') return path.with(i, flipped(path[i]!, at));
  return kind === 'path' ? path.slice(1) : undefined;
}

/**
 * A signature covers size and root together: another size under the same root is refused unless both trees have one
 * shape around the range, and then the leaves are the same.
 */
function sameParts({ start, size, path }: Made['proof'], length: number, other: number): boolean {
  const end = start + length;
  if (other < end) return false;
  return outsideRanges({ start, end }, other).length === path.length && size !== other;
}

function flipped(hash: Uint8Array, at: number): Uint8Array {
  return hash.with(at % 32, hash[at % 32]! ^ (1 << (at % 8)));
}

describe('bounds', () => {
  test('a hash that is not 32 bytes is refused', () => {
    const { proof, leaves } = made({ size: 9, start: 2, end: 5 });
    for (const length of [0, 31, 33]) {
      const path = proof.path.with(0, new Uint8Array(length));
      expect(codeOf(() => rootFromRange(sha256, { ...proof, path }, leaves))).toBe('INCLUSION_INVALID');
      const short = leaves.with(0, new Uint8Array(length));
      expect(codeOf(() => rootFromRange(sha256, proof, short))).toBe('INCLUSION_INVALID');
    }
  });

  test('no leaves, a range outside the tree and numbers that are none are refused', () => {
    const { proof, leaves } = made({ size: 9, start: 2, end: 5 });
    expect(codeOf(() => rootFromRange(sha256, proof, []))).toBe('INCLUSION_INVALID');
    for (const start of [-1, 7, 0.5, NaN, Infinity, 2 ** 53]) {
      expect(codeOf(() => rootFromRange(sha256, { ...proof, start }, leaves))).toBe('INCLUSION_INVALID');
    }
    for (const size of [0, 4, -9, 9.5, NaN]) {
      expect(codeOf(() => rootFromRange(sha256, { ...proof, size }, leaves))).toBe('INCLUSION_INVALID');
    }
  });

  test('the largest tree needs no more hashes than the bound', () => {
    const size = Number.MAX_SAFE_INTEGER;
    const middle = 2 ** 52;
    const parts = outsideRanges({ start: middle - 1, end: middle + 1 }, size);
    expect(parts.length).toBeLessThanOrEqual(MAX_RANGE_PATH);
    const path = parts.map(() => new Uint8Array(32));
    expect(rootFromRange(sha256, { start: middle - 1, size, path }, LEAVES.slice(0, 2))).toHaveLength(32);
    expect(codeOf(() => rootFromRange(sha256, { start: 0, size, path }, LEAVES.slice(0, 2)))).toBe(
      'INCLUSION_INVALID',
    );
  });

  test('making a proof outside the tree is misuse', () => {
    const tree = new MemoryTree(sha256, LEAVES.slice(0, 4));
    for (const [start, end] of [
      [0, 0],
      [3, 5],
      [-1, 2],
      [2, 1],
    ] as const) {
      expect(() => rangeProof(sha256, tree, { start, end })).toThrow(RangeError);
    }
    expect(inclusionRanges(1, 4)).toEqual(outsideRanges({ start: 1, end: 2 }, 4));
  });
});
