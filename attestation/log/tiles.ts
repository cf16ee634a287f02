import { concat } from '../bytes/bytes.ts';
import { ByteReader } from '../bytes/reader.ts';
import { Refusal } from '../errors.ts';

/** Hashes of a full tile and entries of a full bundle: 2^8 (C2SP tlog-tiles). */
export const TILE_WIDTH = 256;
/** Levels of tiles in a tree's height; one tile spans this many levels of the tree. */
export const TILE_HEIGHT = 8;
/** An entry's length is a 16-bit number. */
export const MAX_ENTRY_BYTES = 65_535;

const MAX_LEVEL = 63;

/** A tile of hashes at a level, or the bundle of the entries under a level 0 tile. */
export interface Tile {
  readonly level: number | 'entries';
  readonly index: number;
  /** 1 to 256; less than 256 is a partial tile. */
  readonly width: number;
}

/** Path below the log's prefix: `tile/<L>/<N>[.p/<W>]`, N in groups of three digits, all but the last with `x`. */
export function tilePath({ level, index, width }: Tile): string {
  let path = threeDigits(index);
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${threeDigits(rest)}/${path}`;
  }
  return `tile/${level}/${path}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

/** The last three digits of a number. */
function threeDigits(number: number): string {
  return String(number % 1000).padStart(3, '0');
}

const PATH = /^tile\/(entries|0|[1-9][0-9]?)\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/;

/** Parses a tile path; what `tilePath` would write otherwise is refused, so one tile has one path. */
export function parseTilePath(path: string): Tile {
  const [, level, groups, width] = PATH.exec(path) ?? [];
  if (level === undefined || groups === undefined) throw new Refusal('MALFORMED', 'not the path of a tile');
  const tile: Tile = {
    level: level === 'entries' ? level : Number(level),
    index: Number(groups.replaceAll(/[x/]/g, '')),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  const inRange = Number.isSafeInteger(tile.index) && (tile.level === 'entries' || tile.level <= MAX_LEVEL);
  if (!inRange || tilePath(tile) !== path) throw new Refusal('MALFORMED', 'not the path of a tile');
  return tile;
}

/** Full tiles at a level of a tree of `size` entries. */
export function fullTiles(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** (level + 1));
}

/** Width of the partial tile that follows the full ones at a level; 0 where there is none. */
export function partialWidth(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level) % TILE_WIDTH;
}

/** The partial tiles of hashes of a checkpoint of `size`, lowest level first. */
export function partialTiles(size: number): readonly (Tile & { readonly level: number })[] {
  const tiles: (Tile & { readonly level: number })[] = [];
  for (let level = 0; TILE_WIDTH ** level <= size; level++) {
    const width = partialWidth(level, size);
    if (width > 0) tiles.push({ level, index: fullTiles(level, size), width });
  }
  return tiles;
}

/** An entry as bundles hold it: big-endian 16-bit length, then the entry. */
export function encodeBundleEntry(entry: Uint8Array): Uint8Array {
  if (entry.length > MAX_ENTRY_BYTES) throw new RangeError(`an entry of ${entry.length} bytes is too long`);
  return concat(Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry);
}

export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  return concat(...entries.map(encodeBundleEntry));
}

/** Parses an entry bundle of exactly `width` entries. */
export function parseBundle(bytes: Uint8Array, width: number): readonly Uint8Array[] {
  const reader = new ByteReader(bytes, 'entry bundle');
  const entries: Uint8Array[] = [];
  while (entries.length < width) entries.push(reader.take(reader.u16be()));
  reader.end();
  return entries;
}

/** The ends of the complete entries that `bytes` begin with, 256 at most: what follows the last one is torn. */
export function bundleEnds(bytes: Uint8Array): readonly number[] {
  const reader = new ByteReader(bytes, 'entry bundle');
  const ends: number[] = [];
  while (ends.length < TILE_WIDTH && reader.remaining >= 2) {
    const length = reader.u16be();
    if (length > reader.remaining) break;
    reader.take(length);
    ends.push(reader.offset);
  }
  return ends;
}

/** Parses a tile of exactly `width` hashes. */
export function parseTile(bytes: Uint8Array, width: number): readonly Uint8Array[] {
  const reader = new ByteReader(bytes, 'tile');
  const hashes = Array.from({ length: width }, () => reader.take(32));
  reader.end();
  return hashes;
}
