import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromBase64, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { foldRoots, Frontier } from '../../../attestation/log/frontier.ts';
import { inclusionPath, MemoryTree, rootOf } from '../../../attestation/log/memoryTree.ts';
import {
  emptyRoot,
  leafHash,
  nodeHash,
  rootsFromConsistency,
  verifyConsistency,
  verifyInclusion,
} from '../../../attestation/log/merkle.ts';
import {
  completeSubtrees,
  consistencyRanges,
  inclusionRanges,
  type LeafRange,
} from '../../../attestation/log/subtrees.ts';
import { describeCorpus } from '../../support/corpus.ts';
import { propertyRuns } from '../../support/runs.ts';

const sha256 = sha256With(nodeCrypto);

interface Vector {
  readonly name: string;
  readonly wantErr: boolean;
  readonly proof: readonly string[] | null;
  readonly [member: string]: unknown;
}

/** Some numbers exceed 2^53: as doubles they are no safe integers any more, and such proofs are refused anyway. */
function readVectors(directory: string, file: string): readonly Vector[] {
  const { vectors } = JSON.parse(readFileSync(join(directory, file), 'utf8')) as { vectors: Vector[] };
  return vectors;
}

function codeOf(action: () => void): string {
  try {
    action();
    return 'accepted';
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

function hashOf(value: unknown): Uint8Array {
  return typeof value === 'string' ? fromBase64(value) : new Uint8Array(0);
}

describeCorpus('RFC 9162 proof vectors', 'standards/vectors/merkle', (directory) => {
  test.each(readVectors(directory, 'inclusion.json').map((vector) => [vector.name, vector] as const))(
    '%s',
    (_name, vector) => {
      const proof = {
        index: Number(vector['leafIdx']),
        size: Number(vector['treeSize']),
        path: (vector.proof ?? []).map(hashOf),
      };
      const code = codeOf(() => {
        verifyInclusion(sha256, proof, hashOf(vector['leafHash']), hashOf(vector['root']));
      });
      expect(code).toBe(vector.wantErr ? 'INCLUSION_INVALID' : 'accepted');
    },
  );

  test.each(readVectors(directory, 'consistency.json').map((vector) => [vector.name, vector] as const))(
    '%s',
    (_name, vector) => {
      const proof = {
        size1: Number(vector['size1']),
        size2: Number(vector['size2']),
        path: (vector.proof ?? []).map(hashOf),
      };
      const code = codeOf(() => {
        verifyConsistency(sha256, proof, hashOf(vector['root1']), hashOf(vector['root2']));
      });
      // From size 0 nothing is proved, whatever the vector wants.
      const refused = vector.wantErr || proof.size1 === 0;
      expect(code).toBe(refused ? 'CONSISTENCY_INVALID' : 'accepted');
    },
  );
});

/** The definitions of RFC 9162 section 2.1, written as they stand there. */
function slowSplit(size: number): number {
  let k = 1;
  while (k * 2 < size) k *= 2;
  return k;
}

function slowRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves;
  if (!first) return emptyRoot(sha256);
  if (leaves.length === 1) return first;
  const k = slowSplit(leaves.length);
  return nodeHash(sha256, slowRoot(leaves.slice(0, k)), slowRoot(leaves.slice(k)));
}

function slowPath(m: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length === 1) return [];
  const k = slowSplit(leaves.length);
  return m < k
    ? [...slowPath(m, leaves.slice(0, k)), slowRoot(leaves.slice(k))]
    : [...slowPath(m - k, leaves.slice(k)), slowRoot(leaves.slice(0, k))];
}

function slowSubproof(m: number, leaves: readonly Uint8Array[], known: boolean): Uint8Array[] {
  if (m === leaves.length) return known ? [] : [slowRoot(leaves)];
  const k = slowSplit(leaves.length);
  return m <= k
    ? [...slowSubproof(m, leaves.slice(0, k), known), slowRoot(leaves.slice(k))]
    : [...slowSubproof(m - k, leaves.slice(k), false), slowRoot(leaves.slice(0, k))];
}

function leavesOf(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => leafHash(sha256, utf8(`leaf ${i}`)));
}

const ALL = leavesOf(300);

/** Root of a range by way of its complete subtrees, as a log that stores tiles computes it. */
function rangeRoot({ start, end }: LeafRange): Uint8Array {
  const roots = completeSubtrees({ start, end }).map(({ level, index }) =>
    slowRoot(ALL.slice(index * 2 ** level, (index + 1) * 2 ** level)),
  );
  return foldRoots(sha256, roots);
}

const hex = (hashes: readonly Uint8Array[]): string[] => hashes.map(toHex);
const treeSize = fc.integer({ min: 1, max: ALL.length });
const indexAndSize = treeSize.chain((size) => fc.tuple(fc.nat({ max: size - 1 }), fc.constant(size)));

describe('RFC 9162 trees against their recursive definition', () => {
  test('roots of every size up to 130, of all three ways to compute them', () => {
    const frontier = new Frontier(sha256);
    for (let size = 0; size <= 130; size++) {
      const leaves = ALL.slice(0, size);
      const expected = toHex(slowRoot(leaves));
      expect(toHex(frontier.root())).toBe(expected);
      expect(toHex(rootOf(sha256, leaves))).toBe(expected);
      expect(frontier.size).toBe(size);
      frontier.append(ALL[size]!);
    }
  });

  test('inclusion paths', () => {
    fc.assert(
      fc.property(indexAndSize, ([index, size]) => {
        const leaves = ALL.slice(0, size);
        const path = inclusionPath(sha256, leaves, index);
        expect(hex(path)).toEqual(hex(slowPath(index, leaves)));
        expect(hex(inclusionRanges(index, size).map(rangeRoot))).toEqual(hex(path));
        verifyInclusion(sha256, { index, size, path }, leaves[index]!, slowRoot(leaves));
      }),
      propertyRuns(60),
    );
  });

  test('consistency paths', () => {
    fc.assert(
      fc.property(indexAndSize, ([index, size2]) => {
        const size1 = index + 1;
        const path = consistencyRanges(size1, size2).map(rangeRoot);
        expect(hex(path)).toEqual(hex(slowSubproof(size1, ALL.slice(0, size2), true)));
        const [root1, root2] = [slowRoot(ALL.slice(0, size1)), slowRoot(ALL.slice(0, size2))];
        verifyConsistency(sha256, { size1, size2, path }, root1, root2);
        expect(hex(Object.values(rootsFromConsistency(sha256, { size1, size2, path }, root1)))).toEqual(
          hex([root1, root2]),
        );
      }),
      propertyRuns(60),
    );
  });

  test('a proof with any one bit changed, cut or lengthened is refused', () => {
    fc.assert(
      fc.property(indexAndSize, fc.nat(), fc.nat({ max: 255 }), ([index, size], which, bit) => {
        const leaves = ALL.slice(0, size);
        const root = rootOf(sha256, leaves);
        const path = inclusionPath(sha256, leaves, index);
        const leaf = leaves[index]!;
        const check = (changed: readonly Uint8Array[]) =>
          codeOf(() => {
            verifyInclusion(sha256, { index, size, path: changed }, leaf, root);
          });
        expect(check([...path, leaf])).toBe('INCLUSION_INVALID');
        if (path.length === 0) return;
        expect(check(path.slice(1))).toBe('INCLUSION_INVALID');
        const flipped = path.map((hash) => Uint8Array.from(hash));
        flipped[which % path.length]![bit >> 3]! ^= 1 << (bit & 7);
        expect(check(flipped)).toBe('INCLUSION_INVALID');
      }),
      propertyRuns(40),
    );
  });

  test('a tree of 4,096 leaves gives every path without hashing it again', () => {
    const leaves = leavesOf(4096);
    const tree = new MemoryTree(sha256, leaves);
    for (const index of [0, 1, 2047, 2048, 4095]) {
      verifyInclusion(
        sha256,
        { index, size: 4096, path: tree.inclusionPath(index) },
        leaves[index]!,
        tree.root,
      );
    }
    expect(() => tree.inclusionPath(4096)).toThrow(RangeError);
  });
});

describe('bounds of proofs', () => {
  const leaf = ALL[0]!;

  test.each([
    ['size beyond 2^53-1', { index: 0, size: 2 ** 53, path: [] }],
    ['negative index', { index: -1, size: 1, path: [] }],
    ['fractional size', { index: 0, size: 1.5, path: [] }],
    ['not a number', { index: Number.NaN, size: 1, path: [] }],
    ['empty tree', { index: 0, size: 0, path: [] }],
    ['a path hash of 31 bytes', { index: 0, size: 2, path: [new Uint8Array(31)] }],
  ])('refuses %s', (_name, proof) => {
    expect(
      codeOf(() => {
        verifyInclusion(sha256, proof, leaf, leaf);
      }),
    ).toBe('INCLUSION_INVALID');
  });

  test('sizes above 2^32 are walked without 32-bit arithmetic', () => {
    const size = 2 ** 40;
    const path = Array.from({ length: 40 }, (_, i) => leafHash(sha256, utf8(`${i}`)));
    const root = path.reduce((left, right) => nodeHash(sha256, left, right), leaf);
    verifyInclusion(sha256, { index: 0, size, path }, leaf, root);
    expect(inclusionRanges(0, size)).toHaveLength(40);
    expect(completeSubtrees({ start: 0, end: 2 ** 53 - 1 })).toHaveLength(53);
  });

  test('nothing is proved from size 0, and equal sizes need an empty path', () => {
    const refused = (size1: number, size2: number, path: readonly Uint8Array[]) =>
      codeOf(() => {
        verifyConsistency(sha256, { size1, size2, path }, leaf, leaf);
      });
    expect(refused(0, 1, [])).toBe('CONSISTENCY_INVALID');
    expect(refused(0, 0, [])).toBe('CONSISTENCY_INVALID');
    expect(refused(1, 1, [leaf])).toBe('CONSISTENCY_INVALID');
    expect(refused(2, 1, [leaf])).toBe('CONSISTENCY_INVALID');
    expect(refused(1, 1, [])).toBe('accepted');
  });
});
