import { hash } from 'node:crypto';
import { HASH_LENGTH } from '../../attestation/log/merkle.ts';

/** Before the two children of an inner node (RFC 9162 section 2.1.1). */
const NODE_PREFIX = 0x01;

/**
 * The complete subtrees over the hashes of one tile, in one piece of memory: 16 KiB for a full tile. Hundreds of cached
 * tiles of 511 single buffers each would cost the garbage collector more than all hashing.
 */
export class TileTree {
  readonly #nodes: Buffer;
  /** First node of each level, and the end of the last one. */
  readonly #starts: number[] = [0];
  /** Hashes of the tile. */
  readonly width: number;

  constructor(hashes: readonly Uint8Array[]) {
    this.width = hashes.length;
    for (let count = hashes.length, end = 0; count > 0; count = Math.floor(count / 2)) {
      end += count;
      this.#starts.push(end);
    }
    this.#nodes = Buffer.alloc((this.#starts.at(-1) ?? 0) * HASH_LENGTH);
    for (const [i, leaf] of hashes.entries()) this.#nodes.set(leaf, i * HASH_LENGTH);
    for (let level = 1; level < this.#starts.length - 1; level++) this.#hashLevel(level);
  }

  get byteLength(): number {
    return this.#nodes.length;
  }

  /** The hashes that the tile begins with, as it is stored. */
  bytes(width: number): Uint8Array {
    return Uint8Array.from(this.#nodes.subarray(0, width * HASH_LENGTH));
  }

  /** Root of the 2^`level` hashes from `index` times 2^`level` on; undefined where the tile has not all of them. */
  subtreeRoot(level: number, index: number): Uint8Array | undefined {
    const [start, end] = [this.#starts[level], this.#starts[level + 1]];
    return start !== undefined && end !== undefined && start + index < end
      ? this.#node(start + index)
      : undefined;
  }

  /** Digests come as text of one byte a character: as buffers, 255 for each tile, they would cost more than the hashing. */
  #hashLevel(level: number): void {
    const pair = Buffer.alloc(1 + 2 * HASH_LENGTH, NODE_PREFIX);
    const [below = 0, start = 0, end = 0] = this.#starts.slice(level - 1, level + 2);
    for (let node = start; node < end; node++) {
      const left = (below + 2 * (node - start)) * HASH_LENGTH;
      this.#nodes.copy(pair, 1, left, left + 2 * HASH_LENGTH);
      this.#nodes.write(hash('sha256', pair, 'binary'), node * HASH_LENGTH, 'latin1');
    }
  }

  #node(position: number): Uint8Array {
    return this.#nodes.subarray(position * HASH_LENGTH, (position + 1) * HASH_LENGTH);
  }
}
