import { setTimeout } from 'node:timers/promises';
import { Refusal } from '../../attestation/errors.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { parseCheckpoint } from '../../attestation/log/checkpoint.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { parseTilePath, partialTiles, TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';
import { byCodeUnits, isInstancePath } from './paths.ts';
import type { InstanceFiles } from './source.ts';

const CHECKPOINT = 'checkpoint';
const EVIDENCE = /^evidence\/(\d+)\.cbor$/;
const ANCHOR = /^anchors\/(\d+)\.cbor$/;
/**
 * Looks at a log that stands still: an archive has documents before the entries that they cover, for as long as one pass
 * of its mirror takes. A log that grows loses files while they are read, and is looked at more often.
 */
const LOOKS = { still: 12, moving: 150 } as const;
const PAUSE_MS = { still: 200, moving: 50 } as const;

/** Files as they were at one time. */
interface State {
  readonly files: InstanceFiles;
  readonly paths: ReadonlySet<string>;
  /** What changes or goes while a log grows. */
  readonly pinned: ReadonlyMap<string, Uint8Array>;
}

interface Look extends State {
  /** Entries that are there, and those of which hashes are there. */
  readonly entries: number;
  readonly hashes: number;
  /** Whether nothing went while it was read. */
  readonly isSteady: boolean;
  /** Files of a log of more entries. */
  readonly beyond: readonly Reaching[];
}

interface Reaching {
  readonly path: string;
  readonly reach: number;
}

/**
 * One state of a log that may grow while it is read: what its entries cite is in it, and nothing that is of a larger
 * log. What reaches beyond the entries is left out only where a later look finds those entries, too: in a log that was
 * cut short it stays, and an audit names it. `open` gives the files anew for each look.
 */
export function snapshotOf(open: () => InstanceFiles): InstanceFiles {
  const { instance, origin, created } = open();
  let taken: Promise<State> | undefined;
  const state = () => (taken ??= takeState(open));
  return {
    instance,
    origin,
    created,
    async *paths() {
      yield* [...(await state()).paths].sort(byCodeUnits);
    },
    async read(path) {
      const { files, pinned } = await state();
      return pinned.get(path)?.slice() ?? files.read(path);
    },
  };
}

async function takeState(open: () => InstanceFiles): Promise<State> {
  const looks = { still: 0, moving: 0 };
  for (;;) {
    const found = await look(open);
    const { beyond, entries, hashes, isSteady } = found;
    if (isSteady && beyond.length === 0) return found;
    const later = await look(open);
    const isReached = later.entries > entries && beyond.every(({ reach }) => reach <= later.entries);
    if (isSteady && isReached) return without(found, beyond);
    // Retention removes entries whose hashes stay.
    const isRemoved = later.entries === entries && beyond.every(({ reach }) => reach <= hashes);
    if (isSteady && isRemoved) return found;
    const pace = later.entries > entries ? 'moving' : 'still';
    if (++looks[pace] === LOOKS[pace]) return isReached ? without(found, beyond) : found;
    await setTimeout(PAUSE_MS[pace]);
  }
}

/** The checkpoint comes first and the documents last: entries cite only what was there before them. */
async function look(open: () => InstanceFiles): Promise<Look> {
  const files = open();
  const before = await files.read(CHECKPOINT);
  const paths = new Set<string>();
  for await (const path of files.paths()) paths.add(path);
  const { entries, hashes, widest } = sizesOf(paths);
  await addNewDocuments(files, paths);
  const after = await files.read(CHECKPOINT);
  const head = [after, before].find((note) => note && isHeadOf(note, entries, paths)) ?? before;
  const pinned = new Map<string, Uint8Array>();
  if (head) pinned.set(CHECKPOINT, head);
  else paths.delete(CHECKPOINT);
  const fleeting = [...(head ? partialTiles(sizeOf(head)).map(tilePath) : []), ...(widest ? [widest] : [])];
  let isSteady = !head || isHeadOf(head, entries, paths);
  for (const path of fleeting.filter((each) => paths.has(each))) {
    const bytes = await files.read(path);
    if (bytes) pinned.set(path, bytes);
    else isSteady = false;
  }
  const beyond = [
    ...[...paths].flatMap((path) => reachOf(path)).filter(({ reach }) => reach > entries),
    ...(await documentsBeyond(files, paths, entries)),
  ];
  return { files, paths, pinned, entries, hashes, isSteady, beyond };
}

function without({ files, paths, pinned }: State, beyond: readonly Reaching[]): State {
  const hidden = new Set(beyond.map(({ path }) => path));
  return { files, pinned, paths: new Set([...paths].filter((path) => !hidden.has(path))) };
}

function sizesOf(paths: ReadonlySet<string>): {
  readonly entries: number;
  readonly hashes: number;
  readonly widest: string | undefined;
} {
  let [entries, hashes] = [0, 0];
  let widest: string | undefined;
  for (const path of paths) {
    if (!path.startsWith('tile/')) continue;
    const { level, index, width } = parseTilePath(path);
    const end = (index * TILE_WIDTH + width) * TILE_WIDTH ** (level === 'entries' ? 0 : level);
    if (level !== 'entries') hashes = Math.max(hashes, end);
    else if (end > entries) [entries, widest] = [end, width < TILE_WIDTH ? path : undefined];
  }
  return { entries, hashes, widest };
}

/** Documents are numbered without a gap. */
async function addNewDocuments(files: InstanceFiles, paths: Set<string>): Promise<void> {
  for (let seq = (seqsIn(paths)[0] ?? -1) + 1; ; seq++) {
    if (!(await files.read(`evidence/${seq}.cbor`))) return;
    paths.add(`evidence/${seq}.cbor`);
    const named = await files.read(`evidence/${seq}.collateral`);
    if (!named) continue;
    paths.add(`evidence/${seq}.collateral`);
    const collateral = `collateral/${Buffer.from(named).toString('latin1').trim()}.cbor`;
    if (isInstancePath(collateral)) paths.add(collateral);
  }
}

/** The newest first. */
function seqsIn(paths: ReadonlySet<string>): readonly number[] {
  const seqs = [...paths].flatMap((path) => {
    const [, seq] = EVIDENCE.exec(path) ?? [];
    return seq === undefined ? [] : [Number(seq)];
  });
  return seqs.sort((a, b) => b - a);
}

/** The line of documents never covers less than before. */
async function documentsBeyond(
  files: InstanceFiles,
  paths: ReadonlySet<string>,
  entries: number,
): Promise<readonly Reaching[]> {
  const beyond: Reaching[] = [];
  for (const seq of seqsIn(paths)) {
    const document = await files.read(`evidence/${seq}.cbor`);
    const reach = document ? logSizeOf(document) : 0;
    if (reach <= entries) break;
    beyond.push({ path: `evidence/${seq}.cbor`, reach }, { path: `evidence/${seq}.collateral`, reach });
  }
  return beyond;
}

/** Entries that tiles of hashes and anchors are about. */
function reachOf(path: string): readonly Reaching[] {
  const [, size] = ANCHOR.exec(path) ?? [];
  if (size !== undefined) return [{ path, reach: Number(size) }];
  if (!path.startsWith('tile/') || path.startsWith('tile/entries/')) return [];
  const { level, index, width } = parseTilePath(path);
  return [{ path, reach: (index * TILE_WIDTH + width) * TILE_WIDTH ** Number(level) }];
}

/** Whether the entries reach as far, and the hashes of its right edge are there. */
function isHeadOf(note: Uint8Array, entries: number, paths: ReadonlySet<string>): boolean {
  const size = sizeOf(note);
  const isThere = (tile: { readonly level: number | 'entries'; readonly index: number }) =>
    paths.has(tilePath({ ...tile, width: TILE_WIDTH }));
  return size <= entries && partialTiles(size).every((tile) => paths.has(tilePath(tile)) || isThere(tile));
}

/** What cannot be read is for an audit to name. */
function sizeOf(note: Uint8Array): number {
  return orZero(() => parseCheckpoint(parseNote(note).text).size);
}

function logSizeOf(document: Uint8Array): number {
  return orZero(() => parseDocument(document).statement.logSize);
}

function orZero(read: () => number): number {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return 0;
    throw error;
  }
}
