import { toHex } from '../../attestation/bytes/bytes.ts';
import { parseBundle, TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';
import type { BlobStore } from './blobs.ts';
import { ArchiveError } from './errors.ts';
import type { MirroredLog } from './mirroredLog.ts';
import { bytesOf, type Sql, textOf } from './sql.ts';

export interface FilesParts {
  readonly sql: Sql;
  readonly blobs: BlobStore;
  /** The log of this process: its open bundle becomes a blob with the next checkpoint. */
  readonly live?: Pick<MirroredLog, 'instance' | 'entry'> | undefined;
}

/** The bytes of a file of an instance; undefined where there is none, or where its retention ended. */
export async function readFile(
  { sql, blobs }: FilesParts,
  instance: string,
  path: string,
): Promise<Uint8Array | undefined> {
  const [row] = await sql.query({
    text: 'SELECT digest FROM archive_files WHERE instance = ? AND path = ? AND removed IS NULL',
    values: [instance, path],
  });
  if (!row) return undefined;
  const digest = bytesOf(row, 'digest');
  const bytes = await blobs.get(digest);
  if (!bytes) throw new ArchiveError('BLOB_DAMAGED', `${path} (blob ${toHex(digest)}) is missing`);
  return bytes;
}

/** Bounds of the paths of a tile that is not full: `0` follows `/`. */
export function partialRange(full: string): readonly [string, string] {
  return [`${full}.p/`, `${full}.p0`];
}

/** Paths of a tile that is not full, widest first. */
export async function partialPaths(
  { sql }: FilesParts,
  instance: string,
  full: string,
): Promise<readonly string[]> {
  const rows = await sql.query({
    text: `SELECT path FROM archive_files WHERE instance = ? AND path > ? AND path < ? AND removed IS NULL`,
    values: [instance, ...partialRange(full)],
  });
  const paths = rows.map((row) => textOf(row, 'path'));
  return paths.sort((a, b) => widthOf(b) - widthOf(a));
}

export function widthOf(path: string): number {
  const [, width] = /\.p\/([0-9]+)$/.exec(path) ?? [];
  return width === undefined ? TILE_WIDTH : Number(width);
}

/** One entry of a log that the index has; undefined where its bundle is not there yet. */
export async function readEntry(
  parts: FilesParts,
  instance: string,
  index: number,
): Promise<Uint8Array | undefined> {
  const mirrored = await readMirrored(parts, instance, index);
  const { live } = parts;
  return mirrored ?? (live?.instance === instance ? live.entry(index) : undefined);
}

async function readMirrored(
  parts: FilesParts,
  instance: string,
  index: number,
): Promise<Uint8Array | undefined> {
  const bundle = Math.floor(index / TILE_WIDTH);
  const full = tilePath({ level: 'entries', index: bundle, width: TILE_WIDTH });
  const whole = await readFile(parts, instance, full);
  if (whole) return parseBundle(whole, TILE_WIDTH)[index % TILE_WIDTH];
  const [widest] = await partialPaths(parts, instance, full);
  if (widest === undefined || widthOf(widest) <= index % TILE_WIDTH) return undefined;
  const bytes = await readFile(parts, instance, widest);
  return bytes && parseBundle(bytes, widthOf(widest))[index % TILE_WIDTH];
}
