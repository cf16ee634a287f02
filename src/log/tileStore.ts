import { equalBytes } from '../../attestation/bytes/bytes.ts';
import type { Sha256 } from '../../attestation/crypto/provider.ts';
import { Refusal } from '../../attestation/errors.ts';
import { foldRoots } from '../../attestation/log/frontier.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { emptyRoot, leafHash } from '../../attestation/log/merkle.ts';
import { completeSubtrees, consistencyRanges, inclusionRanges } from '../../attestation/log/subtrees.ts';
import type { LeafRange, Subtree } from '../../attestation/log/subtrees.ts';
import {
  encodeBundle,
  fullTiles,
  parseBundle,
  parseTile,
  parseTilePath,
  TILE_HEIGHT,
  TILE_WIDTH,
  tilePath,
} from '../../attestation/log/tiles.ts';
import { LogError } from './errors.ts';
import { Lru } from './lru.ts';
import type { LogFiles } from './storage.ts';
import type { TileEdge } from './tileEdge.ts';
import { TileTree } from './tileTree.ts';

const CACHE_BYTES = 16 * 1024 * 1024;

/**
 * Reads of one log: full tiles and bundles from its files, the open ones from memory. Each tile that comes from a file
 * must hash to what its parent tile holds, up to the edge in memory, and each bundle to its tile: who controls the
 * storage of a running log can make reads fail as `LOG_CORRUPT`, not make them lie.
 */
export class TileStore {
  readonly #files: LogFiles;
  readonly #sha256: Sha256;
  readonly #edge: TileEdge;
  readonly #tiles = new Lru<TileTree>(CACHE_BYTES / 2);
  readonly #loading = new Map<string, Promise<TileTree>>();
  readonly #bundles = new Lru<readonly Uint8Array[]>(CACHE_BYTES / 2);

  constructor(files: LogFiles, sha256: Sha256, edge: TileEdge) {
    this.#files = files;
    this.#sha256 = sha256;
    this.#edge = edge;
  }

  /** RFC 9162 root over the first `size` entries. */
  async root(size: number): Promise<Uint8Array> {
    requireRange(size >= 0 && size <= this.#edge.size, `${size} entries`);
    return size === 0 ? emptyRoot(this.#sha256) : this.#rangeRoot({ start: 0, end: size });
  }

  async inclusionProof(index: number, size: number): Promise<readonly Uint8Array[]> {
    requireRange(index >= 0 && index < size && size <= this.#edge.size, `entry ${index} at size ${size}`);
    return this.#roots(inclusionRanges(index, size));
  }

  async consistencyProof(size1: number, size2: number): Promise<readonly Uint8Array[]> {
    requireRange(size1 >= 1 && size1 <= size2 && size2 <= this.#edge.size, `sizes ${size1} and ${size2}`);
    return this.#roots(consistencyRanges(size1, size2));
  }

  async entry(index: number): Promise<Uint8Array> {
    requireRange(index >= 0 && index < this.#edge.size, `entry ${index}`);
    const entries = await this.entries(Math.floor(index / TILE_WIDTH));
    const entry = entries[index % TILE_WIDTH];
    if (!entry) throw new LogError('LOG_CORRUPT', `entry ${index} is missing`);
    return entry;
  }

  /** The entries of a bundle, as many as the log holds. */
  async entries(bundle: number): Promise<readonly Uint8Array[]> {
    requireRange(bundle >= 0 && bundle * TILE_WIDTH < this.#edge.size, `bundle ${bundle}`);
    const kept = this.#edge.entriesOf(bundle);
    if (kept) return kept;
    const path = tilePath({ level: 'entries', index: bundle, width: TILE_WIDTH });
    const cached = this.#bundles.get(path);
    if (cached) return cached;
    const entries = parseStored(path, await this.#read(path), parseBundle);
    const tree = await this.#tree(0, bundle);
    const matches = entries.every((entry, i) =>
      isHash(leafHash(this.#sha256, entry), tree.subtreeRoot(0, i)),
    );
    if (!matches) throw new LogError('LOG_CORRUPT', `${path} holds other entries than the tree`);
    this.#bundles.set(path, entries, byteLength(entries));
    return entries;
  }

  /** Content of a tile path of C2SP tlog-tiles; undefined where the log does not reach that far. */
  async tile(path: string): Promise<Uint8Array | undefined> {
    const { level, index, width } = parseTilePath(path);
    const span = level === 'entries' ? 1 : TILE_WIDTH ** level;
    if ((index * TILE_WIDTH + width) * span > this.#edge.size) return undefined;
    return level === 'entries'
      ? encodeBundle((await this.entries(index)).slice(0, width))
      : (await this.#tree(level, index)).bytes(width);
  }

  #roots(ranges: readonly LeafRange[]): Promise<readonly Uint8Array[]> {
    return Promise.all(ranges.map((range) => this.#rangeRoot(range)));
  }

  async #rangeRoot(range: LeafRange): Promise<Uint8Array> {
    const roots = await Promise.all(completeSubtrees(range).map((subtree) => this.#subtreeRoot(subtree)));
    return foldRoots(this.#sha256, roots);
  }

  async #subtreeRoot({ level, index }: Subtree): Promise<Uint8Array> {
    const inTile = level % TILE_HEIGHT;
    const perTile = 2 ** (TILE_HEIGHT - inTile);
    const tree = await this.#tree(Math.floor(level / TILE_HEIGHT), Math.floor(index / perTile));
    const root = tree.subtreeRoot(inTile, index % perTile);
    if (!root) throw new LogError('LOG_CORRUPT', `the tiles lack subtree ${index} of level ${level}`);
    return root;
  }

  /** The tree over the hashes of a tile, full or as far as the log goes. */
  async #tree(level: number, index: number): Promise<TileTree> {
    const kept = this.#edge.hashesOf(level, index);
    const path = tilePath({ level, index, width: kept?.length ?? TILE_WIDTH });
    const cached = this.#tiles.get(path);
    if (cached) return cached;
    if (kept) return this.#keep(path, new TileTree(kept));
    // A proof asks for up to eight nodes of one tile at once: it is read and hashed once for all of them.
    const loading = this.#loading.get(path) ?? this.#load(path, level, index);
    this.#loading.set(path, loading);
    return loading;
  }

  async #load(path: string, level: number, index: number): Promise<TileTree> {
    try {
      const tree = new TileTree(parseStored(path, await this.#read(path), parseTile));
      await this.#requireInParent(path, level, index, tree.subtreeRoot(TILE_HEIGHT, 0));
      return this.#keep(path, tree);
    } finally {
      this.#loading.delete(path);
    }
  }

  #keep(path: string, tree: TileTree): TileTree {
    this.#tiles.set(path, tree, tree.byteLength);
    return tree;
  }

  async #requireInParent(
    path: string,
    level: number,
    index: number,
    root: Uint8Array | undefined,
  ): Promise<void> {
    const parent = await this.#tree(level + 1, Math.floor(index / TILE_WIDTH));
    if (!root || !isHash(root, parent.subtreeRoot(0, index % TILE_WIDTH))) {
      throw new LogError('LOG_CORRUPT', `${path} has another root than its parent tile holds`);
    }
  }

  async #read(path: string): Promise<Uint8Array> {
    const bytes = await this.#files.read(path).catch((error: unknown) => {
      throw error instanceof LogError ? error : new LogError('LOG_CORRUPT', `${path} cannot be read`, error);
    });
    if (!bytes) throw new LogError('LOG_CORRUPT', `${path} is missing`);
    return bytes;
  }

  /** Reads the newest full tile again, past the cache, and refuses what this process did not write. */
  async checkNewestTile(): Promise<void> {
    const full = fullTiles(0, this.#edge.size);
    if (full === 0) return;
    const path = tilePath({ level: 0, index: full - 1, width: TILE_WIDTH });
    const hashes = parseStored(path, await this.#read(path), parseTile);
    await this.#requireInParent(path, 0, full - 1, rootOf(this.#sha256, hashes));
  }
}

function parseStored<Parsed>(
  path: string,
  bytes: Uint8Array,
  parse: (bytes: Uint8Array, width: number) => Parsed,
): Parsed {
  try {
    return parse(bytes, TILE_WIDTH);
  } catch (error) {
    if (error instanceof Refusal) throw new LogError('LOG_CORRUPT', `${path}: ${error.message}`, error);
    throw error;
  }
}

function isHash(hash: Uint8Array, expected: Uint8Array | undefined): boolean {
  return expected !== undefined && equalBytes(hash, expected);
}

function byteLength(parts: readonly Uint8Array[]): number {
  return parts.reduce((total, part) => total + part.length, 0);
}

function requireRange(holds: boolean, what: string): void {
  if (!holds) throw new LogError('LOG_OUT_OF_RANGE', `the log does not hold ${what}`);
}
