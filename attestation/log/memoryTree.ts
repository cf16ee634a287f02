import type { Sha256 } from '../crypto/provider.ts';
import { emptyRoot, nodeHash } from './merkle.ts';

/**
 * An RFC 9162 tree held whole in memory, for the trees of one batch of nonces or of one stream's chunks: twice the
 * leaves in hashes, and each path costs no hashing.
 */
export class MemoryTree {
  readonly #levels: (readonly Uint8Array[])[];
  readonly root: Uint8Array;

  constructor(sha256: Sha256, leafHashes: readonly Uint8Array[]) {
    this.#levels = [leafHashes];
    let level = leafHashes;
    while (level.length > 1) {
      level = parents(sha256, level);
      this.#levels.push(level);
    }
    this.root = level[0] ?? emptyRoot(sha256);
  }

  get size(): number {
    return this.leafHashes.length;
  }

  get leafHashes(): readonly Uint8Array[] {
    return this.#levels[0] ?? [];
  }

  /** Root of the 2^`level` leaves from `index` times 2^`level` on; undefined where the tree has not all of them. */
  subtreeRoot(level: number, index: number): Uint8Array | undefined {
    return (index + 1) * 2 ** level <= this.size ? this.#levels[level]?.[index] : undefined;
  }

  /** Siblings from leaf `index` upwards; an index outside the tree is misuse. */
  inclusionPath(index: number): readonly Uint8Array[] {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.size) {
      throw new RangeError(`leaf ${index} is outside a tree of ${this.size}`);
    }
    const path: Uint8Array[] = [];
    let position = index;
    for (const level of this.#levels) {
      // The last node of an odd level has no sibling and is promoted.
      const sibling = level[position % 2 === 0 ? position + 1 : position - 1];
      if (sibling) path.push(sibling);
      position = Math.floor(position / 2);
    }
    return path;
  }
}

function parents(sha256: Sha256, level: readonly Uint8Array[]): readonly Uint8Array[] {
  const above: Uint8Array[] = [];
  for (let i = 0; i < level.length; i += 2) {
    const [left, right] = level.slice(i, i + 2);
    if (left) above.push(right ? nodeHash(sha256, left, right) : left);
  }
  return above;
}

/** Root over leaf hashes. */
export function rootOf(sha256: Sha256, leafHashes: readonly Uint8Array[]): Uint8Array {
  return new MemoryTree(sha256, leafHashes).root;
}

/** Inclusion path of one leaf; for many paths of one tree keep a `MemoryTree`. */
export function inclusionPath(
  sha256: Sha256,
  leafHashes: readonly Uint8Array[],
  index: number,
): readonly Uint8Array[] {
  return new MemoryTree(sha256, leafHashes).inclusionPath(index);
}
