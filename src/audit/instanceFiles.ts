import {
  bundleEnds,
  parseTile,
  parseTilePath,
  TILE_WIDTH,
  tilePath,
  type Tile,
} from '../../attestation/log/tiles.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { FilePlace } from '../export/files.ts';
import type { InstanceFiles } from '../export/source.ts';

const EVIDENCE = /^evidence\/(\d+)\.cbor$/;
const ANCHOR = /^anchors\/(\d+)\.cbor$/;
const ACT = /^acts\/([0-9a-f]{64})\.cbor$/;

/** The files of one instance, listed once. */
export interface ListedInstance {
  readonly files: InstanceFiles;
  /** Entries in the fullest bundle of each index; the widths of its tiles of hashes by level and index. */
  readonly bundleWidths: ReadonlyMap<number, number>;
  readonly tileWidths: ReadonlyMap<string, number>;
  /** Ascending. */
  readonly documents: readonly number[];
  readonly anchors: readonly number[];
  /** Subjects of acts whose ids lie there, hex. */
  readonly acts: readonly string[];
  /** Bytes are not known before they are read; this counts files. */
  readonly count: number;
}

export async function listInstance(files: InstanceFiles): Promise<ListedInstance> {
  const bundleWidths = new Map<number, number>();
  const tileWidths = new Map<string, number>();
  const [documents, anchors]: [number[], number[]] = [[], []];
  const acts: string[] = [];
  let count = 0;
  for await (const path of files.paths()) {
    count++;
    if (path.startsWith('tile/')) noteTile(path, bundleWidths, tileWidths);
    else if (EVIDENCE.test(path)) documents.push(Number(EVIDENCE.exec(path)?.[1]));
    else if (ANCHOR.test(path)) anchors.push(Number(ANCHOR.exec(path)?.[1]));
    else if (ACT.test(path)) acts.push(ACT.exec(path)?.[1] ?? '');
  }
  documents.sort((a, b) => a - b);
  anchors.sort((a, b) => a - b);
  return { files, bundleWidths, tileWidths, documents, anchors, acts, count };
}

function noteTile(path: string, bundles: Map<number, number>, tiles: Map<string, number>): void {
  const { level, index, width } = parseTilePath(path);
  if (level === 'entries') bundles.set(index, Math.max(bundles.get(index) ?? 0, width));
  else tiles.set(`${level}/${index}`, Math.max(tiles.get(`${level}/${index}`) ?? 0, width));
}

/** Entries that are there, or of which at least the hashes are. */
export function entriesOf({ bundleWidths, tileWidths }: ListedInstance): number {
  let entries = 0;
  for (const [index, width] of bundleWidths) entries = Math.max(entries, index * TILE_WIDTH + width);
  for (const [key, width] of tileWidths) {
    const [level = 0, index = 0] = key.split('/').map(Number);
    entries = Math.max(entries, (index * TILE_WIDTH + width) * TILE_WIDTH ** level);
  }
  return entries;
}

export interface Bundle {
  readonly bytes: Uint8Array;
  readonly width: number;
}

/** The bytes of a file, or where whoever is given this reads them. */
export type GivenFile = Uint8Array | FilePlace;

/** A file without its being read where that can be done elsewhere. */
async function giveFile({ files }: ListedInstance, tile: Tile): Promise<GivenFile | undefined> {
  const path = tilePath(tile);
  return files.locate?.(path) ?? (await files.read(path));
}

export async function giveBundle(
  listed: ListedInstance,
  index: number,
): Promise<{ readonly file: GivenFile; readonly width: number } | undefined> {
  const width = listed.bundleWidths.get(index);
  if (width === undefined) return undefined;
  const file = await giveFile(listed, { level: 'entries', index, width });
  return file === undefined ? undefined : { file, width };
}

/** The tile of leaf hashes beside a bundle. */
export async function giveTile(listed: ListedInstance, index: number): Promise<GivenFile | undefined> {
  const width = listed.tileWidths.get(`0/${index}`);
  return width === undefined ? undefined : giveFile(listed, { level: 0, index, width });
}

export async function readBundle(
  { files, bundleWidths }: ListedInstance,
  index: number,
): Promise<Bundle | undefined> {
  const width = bundleWidths.get(index);
  if (width === undefined) return undefined;
  const bytes = await files.read(tilePath({ level: 'entries', index, width }));
  return bytes && { bytes, width };
}

/** The first entry of a log; undefined where it is not there. */
export async function readFirstEntry(listed: ListedInstance): Promise<Uint8Array | undefined> {
  const bundle = await readBundle(listed, 0);
  const end = bundle && bundleEnds(bundle.bytes)[0];
  return end === undefined ? undefined : bundle?.bytes.slice(2, end);
}

/** The bytes of a tile of hashes as far as it goes; undefined where it is not there. */
async function readTileBytes(
  { files, tileWidths }: ListedInstance,
  level: number,
  index: number,
): Promise<Uint8Array | undefined> {
  const width = tileWidths.get(`${level}/${index}`);
  return width === undefined ? undefined : files.read(tilePath({ level, index, width }));
}

/** The hashes of a tile; undefined where it is not there or damaged. */
export async function readTile(
  listed: ListedInstance,
  level: number,
  index: number,
): Promise<readonly Uint8Array[] | undefined> {
  const bytes = await readTileBytes(listed, level, index);
  try {
    return bytes && parseTile(bytes, listed.tileWidths.get(`${level}/${index}`) ?? 0);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
