import { equalBytes } from '../../attestation/bytes/bytes.ts';
import type { Sha256 } from '../../attestation/crypto/provider.ts';
import { Refusal } from '../../attestation/errors.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import {
  bundleEnds,
  fullTiles,
  parseBundle,
  parseTile,
  partialWidth,
  TILE_WIDTH,
  tilePath,
} from '../../attestation/log/tiles.ts';
import { LogError } from './errors.ts';
import { bundlePath } from './layout.ts';
import type { FormerFiles, LogFiles } from './storage.ts';
import { TileEdge } from './tileEdge.ts';

/** Bytes that a crash left behind the last complete entry of a journal. */
export interface TornTail {
  readonly bytes: number;
  /** Index that the torn entry would have had. */
  readonly index: number;
}

/** The journal of a log that nobody writes. */
export interface StoredJournal {
  readonly entries: readonly Uint8Array[];
  /** Size of the log: full bundles and complete entries of the journal. */
  readonly size: number;
  readonly torn: TornTail | undefined;
}

/** Reads the journal of a log; a missing one is empty, as a crash between two bundles leaves it. */
export async function readJournal(files: LogFiles): Promise<StoredJournal> {
  const bundles = await countBundles(files);
  const bytes = await files.readJournal(bundles);
  const ends = bundleEnds(bytes);
  const complete = ends.at(-1) ?? 0;
  const size = bundles * TILE_WIDTH + ends.length;
  return {
    entries: parseBundle(bytes.subarray(0, complete), ends.length),
    size,
    torn: complete < bytes.length ? { bytes: bytes.length - complete, index: size } : undefined,
  };
}

/** Full bundles: they are there without a gap, so the first missing one is found by halving. */
async function countBundles(files: LogFiles): Promise<number> {
  const exists = (index: number): Promise<boolean> => files.has(bundlePath(index));
  let missing = 1;
  while (await exists(missing - 1)) missing *= 2;
  let present = Math.floor(missing / 2);
  // Bundles below `present` exist, bundle `missing - 1` does not.
  while (present < missing - 1) {
    const middle = Math.floor((present + missing - 1) / 2);
    if (await exists(middle)) present = middle + 1;
    else missing = middle + 1;
  }
  return present;
}

/**
 * Finishes what a crash interrupted: a journal of 256 entries gets its tiles and its final name. Tiles are never
 * replaced by others: where a bundle in the middle was taken away, the log is refused as `LOG_CORRUPT`.
 */
export async function finishBundle(
  files: FormerFiles,
  journal: StoredJournal,
  sha256: Sha256,
): Promise<void> {
  if (journal.entries.length < TILE_WIDTH) return;
  const edge = await readEdge(files, { ...journal, entries: [], size: journal.size - TILE_WIDTH }, sha256);
  for (const entry of journal.entries) edge.append(entry);
  for (const { path, bytes } of edge.fullTileFiles()) await writeTileOnce(files, path, bytes);
  await files.sealJournal(fullTiles(0, journal.size) - 1);
}

async function writeTileOnce(files: LogFiles, path: string, bytes: Uint8Array): Promise<void> {
  const found = await files.read(path);
  if (!found) await files.write(path, bytes);
  else if (!equalBytes(found, bytes)) throw new LogError('LOG_CORRUPT', `${path} is of other entries`);
}

/** The right edge of a stored log: at each level the roots of the tiles below that are in no full tile. */
export async function readEdge(
  files: LogFiles,
  { entries, size }: Pick<StoredJournal, 'entries' | 'size'>,
  sha256: Sha256,
): Promise<TileEdge> {
  const levels: (readonly Uint8Array[])[] = [entries.map((entry) => leafHash(sha256, entry))];
  for (let level = 1; TILE_WIDTH ** level <= size; level++) {
    const first = fullTiles(level, size) * TILE_WIDTH;
    const roots: Uint8Array[] = [];
    for (let i = 0; i < partialWidth(level, size); i++) {
      roots.push(rootOf(sha256, await readFullTile(files, level - 1, first + i)));
    }
    levels.push(roots);
  }
  return new TileEdge(sha256, size, levels, entries);
}

async function readFullTile(files: LogFiles, level: number, index: number): Promise<readonly Uint8Array[]> {
  const path = tilePath({ level, index, width: TILE_WIDTH });
  const bytes = await files.read(path);
  if (!bytes) throw new LogError('LOG_CORRUPT', `${path} is missing`);
  try {
    return parseTile(bytes, TILE_WIDTH);
  } catch (error) {
    if (error instanceof Refusal) throw new LogError('LOG_CORRUPT', `${path} is damaged`, error);
    throw error;
  }
}
