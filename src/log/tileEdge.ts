import { concat } from '../../attestation/bytes/bytes.ts';
import type { Sha256 } from '../../attestation/crypto/provider.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import { fullTiles, partialTiles, TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';

/** A tile to write: its path below the log's folder, and its bytes. */
export interface TileFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

interface FullTile {
  readonly level: number;
  readonly index: number;
  readonly hashes: readonly Uint8Array[];
}

/**
 * The right edge of a log's tiles in memory: at each level the hashes of the tile that is not full yet (at most 255
 * of 32 bytes, at most 7 levels), and the entries of the open bundle (at most 256, 16 MiB at the very most). It does
 * not grow with the log. Tiles and the bundle that just became full stay until `release` says that they are on disk.
 */
export class TileEdge {
  readonly #sha256: Sha256;
  readonly #levels: Uint8Array[][];
  #entries: Uint8Array[];
  #size: number;
  #full: FullTile[] = [];

  /** Without further arguments the edge of an empty log; else of one whose `levels` and open entries were read. */
  constructor(
    sha256: Sha256,
    size = 0,
    levels: readonly (readonly Uint8Array[])[] = [],
    openEntries: readonly Uint8Array[] = [],
  ) {
    this.#sha256 = sha256;
    this.#size = size;
    this.#levels = levels.map((hashes) => [...hashes]);
    this.#entries = [...openEntries];
  }

  get size(): number {
    return this.#size;
  }

  /** Entries that the open bundle still takes; 0 until `release` where it just became full. */
  get room(): number {
    return TILE_WIDTH - this.#entries.length;
  }

  /** Appends an entry to a bundle that has room, and returns its leaf hash. */
  append(entry: Uint8Array): Uint8Array {
    const hash = leafHash(this.#sha256, entry);
    this.#entries.push(entry);
    this.#size++;
    this.#push(0, hash);
    return hash;
  }

  #push(level: number, hash: Uint8Array): void {
    const hashes = (this.#levels[level] ??= []);
    hashes.push(hash);
    if (hashes.length < TILE_WIDTH) return;
    this.#levels[level] = [];
    this.#full.push({ level, index: fullTiles(level, this.#size) - 1, hashes });
    this.#push(level + 1, rootOf(this.#sha256, hashes));
  }

  /** The tiles that became full and are not released. */
  fullTileFiles(): readonly TileFile[] {
    return this.#full.map(({ level, index, hashes }) => ({
      path: tilePath({ level, index, width: TILE_WIDTH }),
      bytes: concat(...hashes),
    }));
  }

  /** Forgets full tiles and a full bundle: they are on disk. */
  release(): void {
    this.#full = [];
    if (this.room === 0) this.#entries = [];
  }

  /** The partial tiles of a checkpoint of `size`, as far as they are partial still. */
  partialTileFiles(size: number): readonly TileFile[] {
    return partialTiles(size).flatMap(({ level, index, width }) => {
      const hashes = index === fullTiles(level, this.#size) ? this.#levels[level] : undefined;
      if (!hashes) return [];
      return [{ path: tilePath({ level, index, width }), bytes: concat(...hashes.slice(0, width)) }];
    });
  }

  /** Hashes of a tile that is kept here. */
  hashesOf(level: number, index: number): readonly Uint8Array[] | undefined {
    if (index === fullTiles(level, this.#size)) return this.#levels[level]?.slice();
    return this.#full.find((tile) => tile.level === level && tile.index === index)?.hashes;
  }

  /** Entries of a bundle that is kept here. */
  entriesOf(bundle: number): readonly Uint8Array[] | undefined {
    const first = this.#size - this.#entries.length;
    return bundle * TILE_WIDTH === first ? this.#entries.slice() : undefined;
  }
}
