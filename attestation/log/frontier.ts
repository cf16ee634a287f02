import type { Sha256 } from '../crypto/provider.ts';
import { emptyRoot, nodeHash } from './merkle.ts';

/**
 * The right edge of an append-only RFC 9162 tree: the roots of its complete subtrees, largest first. At most 53
 * hashes whatever the size, so a log's root can live in memory while its entries do not.
 */
export class Frontier {
  readonly #sha256: Sha256;
  readonly #roots: Uint8Array[] = [];
  #size = 0;

  constructor(sha256: Sha256) {
    this.#sha256 = sha256;
  }

  get size(): number {
    return this.#size;
  }

  /** Appends the hash of the next leaf. */
  append(leafHash: Uint8Array): void {
    let right = leafHash;
    for (let rest = this.#size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      const left = this.#roots.pop();
      if (left) right = nodeHash(this.#sha256, left, right);
    }
    this.#roots.push(right);
    this.#size++;
  }

  root(): Uint8Array {
    return this.#size === 0 ? emptyRoot(this.#sha256) : foldRoots(this.#sha256, this.#roots);
  }
}

/** Root over the roots of adjacent complete subtrees of falling size; there is at least one. */
export function foldRoots(sha256: Sha256, roots: readonly Uint8Array[]): Uint8Array {
  return roots.reduceRight((right, left) => nodeHash(sha256, left, right));
}
