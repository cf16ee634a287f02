import { hash } from 'node:crypto';
import { ImageError } from '../errors.ts';

/** Bytes of a block, of data and of hashes. */
export const BLOCK_BYTES = 4096;
/** The superblock fills the first block of the tree; hashes begin behind it. */
export const HASH_START = 1;
const ROOT_HASH_BYTES = 32;
const HASHES_PER_BLOCK = BLOCK_BYTES / ROOT_HASH_BYTES;
/** 2 TiB: what a table with 32-bit sectors and this builder are made for. */
const MAX_DATA_BLOCKS = 2 ** 29;
const MAX_SALT_BYTES = 256;

/** What has to be known of a device beside its data, to check each block that is read. */
export interface VerityRoot {
  /** SHA-256 at the top of the tree. */
  readonly rootHash: Uint8Array;
  /** Blocks of 4096 bytes. */
  readonly dataBlocks: number;
  /** Hashed before each block; up to 256 bytes. */
  readonly salt: Uint8Array;
}

/** One level of the tree. Level 0 holds the hashes of data; the last has one block, whose hash is the root hash. */
interface Level {
  /** Where it begins, in blocks of the tree's device. */
  readonly start: number;
  readonly blocks: number;
}

/** A block of the tree that will not change any more. */
export interface TreeBlock {
  /** Position in blocks of the tree's device. */
  readonly position: number;
  readonly bytes: Uint8Array;
}

/**
 * Levels in the order of their numbers. On the device they lie the other way round: the top first
 * (`verity_ctr` of drivers/md/dm-verity-target.c). A single block of data has no level; its hash is the root hash.
 */
export function verityLevels(dataBlocks: number): readonly Level[] {
  if (!Number.isSafeInteger(dataBlocks) || dataBlocks < 1 || dataBlocks > MAX_DATA_BLOCKS) {
    throw new ImageError('IMAGE_TOO_LARGE', `no hash tree has ${dataBlocks} blocks of data`);
  }
  const sizes: number[] = [];
  for (let below = dataBlocks; below > 1; below = sizes.at(-1) ?? 1) {
    sizes.push(Math.ceil(below / HASHES_PER_BLOCK));
  }
  return sizes.map((blocks, level) => ({
    blocks,
    start: HASH_START + sizes.slice(level + 1).reduce((sum, size) => sum + size, 0),
  }));
}

/**
 * The hash tree of data that is fed block by block: version 1 of the format, SHA-256 over salt and block. Holds one
 * block for each level, whatever the size of the data is.
 */
export class VerityTree {
  readonly #levels: readonly Level[];
  readonly #dataBlocks: number;
  /** Salt, and behind it the block that is hashed. */
  readonly #input: Buffer;
  readonly #saltBytes: number;
  readonly #open: { readonly bytes: Buffer; hashes: number; written: number }[];
  #fed = 0;
  #done: TreeBlock[] = [];
  #root: Uint8Array | undefined;

  constructor(dataBlocks: number, salt: Uint8Array) {
    if (salt.length > MAX_SALT_BYTES) {
      throw new ImageError('IMAGE_TOO_LARGE', `a salt has at most ${MAX_SALT_BYTES} bytes`);
    }
    this.#dataBlocks = dataBlocks;
    this.#levels = verityLevels(dataBlocks);
    this.#input = Buffer.alloc(salt.length + BLOCK_BYTES);
    this.#input.set(salt);
    this.#saltBytes = salt.length;
    this.#open = this.#levels.map(() => ({ bytes: Buffer.alloc(BLOCK_BYTES), hashes: 0, written: 0 }));
  }

  /** Takes the next block of data, and gives the blocks of the tree that are complete since the last call. */
  feed(block: Uint8Array): readonly TreeBlock[] {
    if (block.length !== BLOCK_BYTES) throw new RangeError(`a block has ${BLOCK_BYTES} bytes`);
    if (this.#fed === this.#dataBlocks) throw new RangeError('all of the data was fed');
    this.#fed += 1;
    this.#add(0, this.#digest(block));
    if (this.#fed === this.#dataBlocks) this.#finish();
    const done = this.#done;
    this.#done = [];
    return done;
  }

  /** After all of the data was fed. */
  get rootHash(): Uint8Array {
    if (!this.#root) throw new RangeError(`${this.#fed} of ${this.#dataBlocks} blocks were fed`);
    return this.#root;
  }

  #digest(block: Uint8Array): Buffer {
    this.#input.set(block, this.#saltBytes);
    return hash('sha256', this.#input, 'buffer');
  }

  #add(level: number, digest: Buffer): void {
    const open = this.#open[level];
    if (!open) {
      this.#root = Uint8Array.from(digest);
      return;
    }
    open.bytes.set(digest, open.hashes * ROOT_HASH_BYTES);
    open.hashes += 1;
    if (open.hashes === HASHES_PER_BLOCK) this.#close(level);
  }

  /** Behind the last hash of a level its block is zero. */
  #close(level: number): void {
    const open = this.#open[level];
    const start = this.#levels[level]?.start;
    if (!open || start === undefined) return;
    const bytes = Uint8Array.from(open.bytes);
    this.#done.push({ position: start + open.written, bytes });
    open.written += 1;
    open.hashes = 0;
    open.bytes.fill(0);
    this.#add(level + 1, this.#digest(bytes));
  }

  #finish(): void {
    for (const [level, open] of this.#open.entries()) if (open.hashes > 0) this.#close(level);
  }
}
