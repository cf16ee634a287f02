import {
  fullTiles,
  parseTilePath,
  partialTiles,
  TILE_WIDTH,
  tilePath,
} from '../../../attestation/log/tiles.ts';
import type { ExportedInstance } from '../../export/manifest.ts';
import { byCodeUnits } from '../../export/paths.ts';
import { oldestCited } from './citations.ts';
import { issuedAt, requireFile, type InstanceIndex } from './instanceIndex.ts';

/** Milliseconds since 1970 by the guests' clocks, both inclusive; undefined is open. */
export interface TimeRange {
  readonly from: number | undefined;
  readonly to: number | undefined;
}

export interface Selection {
  readonly described: ExportedInstance;
  /** In code-unit order. */
  readonly paths: readonly string[];
}

/** Entries `start` to `end` - 1, and the documents that they cite and that cover them, by place in the list. */
interface Span {
  readonly start: number;
  readonly end: number;
  /** Entries up to here date the last document. */
  readonly dated: number;
  readonly first: number;
  readonly last: number;
}

/** What an export of a time range takes from one instance: whole epochs, and what ties them to the rest of the log. */
export async function selectFiles(index: InstanceIndex, range: TimeRange): Promise<Selection> {
  const { files, size } = index;
  const span = await spanOf(index, range);
  const described = { instance: files.instance, origin: files.origin, created: files.created, size };
  const documents = span ? index.documents.slice(span.first, span.last + 1) : [];
  const [first, last] = [documents[0], documents.at(-1)];
  const wanted = [
    ...['origin', 'created', 'checkpoint'],
    ...bundlePaths(index, span),
    ...tilePaths(index, span),
    ...(await evidencePaths(index, [0, ...documents.map(({ seq }) => seq)])),
    ...anchorPaths(index, span),
    ...[...index.paths].filter((path) => path.startsWith('acts/')),
  ];
  return {
    described: {
      ...described,
      ...(span && span.end > span.start ? { entries: [span.start, span.end - 1] as [number, number] } : {}),
      ...(first && last ? { documents: [first.seq, last.seq] as [number, number] } : {}),
    },
    paths: [...new Set(wanted)].filter((path) => index.paths.has(path)).sort(byCodeUnits),
  };
}

async function spanOf(index: InstanceIndex, range: TimeRange): Promise<Span | undefined> {
  const { documents, size } = index;
  if (range.from === undefined && range.to === undefined) {
    return { start: 0, end: size, dated: size, first: 0, last: documents.length - 1 };
  }
  const starts = [0, ...documents.map(({ logSize }) => logSize), size];
  const touched = await touchedEpochs(index, starts, range);
  if (!touched) return undefined;
  const [start, end] = [starts[touched.from] ?? 0, starts[touched.to + 1] ?? size];
  const before = Math.max(0, touched.from - 1);
  return {
    start,
    end,
    dated: datedBy(index, end, starts[touched.to + 2] ?? size),
    first: Math.min(before, (await oldestCited(index, start, end)) ?? before),
    last: Math.min(touched.to, documents.length - 1),
  };
}

/** First and last epoch that the range touches. Epoch i is what was logged between documents i - 1 and i of the list. */
async function touchedEpochs(
  index: InstanceIndex,
  starts: readonly number[],
  { from = -Infinity, to = Infinity }: TimeRange,
): Promise<{ readonly from: number; readonly to: number } | undefined> {
  let touched: { readonly from: number; readonly to: number } | undefined;
  for (const [i, start] of starts.slice(0, -1).entries()) {
    const next = starts[i + 1] ?? start;
    if (next === start) continue;
    const [begin, end] = [await timeBefore(index, start), await timeBefore(index, next)];
    // Of an entry that retention removed no time is known: its epochs touch any range.
    const touches = (begin ?? -Infinity) <= to && (end ?? Infinity) >= from;
    if (touches) touched = { from: touched?.from ?? i, to: i };
  }
  return touched;
}

/** Time of the last entry below a size. */
function timeBefore(index: InstanceIndex, size: number): Promise<number | undefined> {
  return issuedAt(index, Math.max(0, size - 1));
}

/**
 * The covering document is named by an `epoch` record behind it, and the first anchored checkpoint that holds this
 * record dates it: the span goes on to there, though not beyond the next epoch.
 */
function datedBy({ anchors, size }: InstanceIndex, covered: number, next: number): number {
  const anchored = anchors.find((anchor) => anchor > covered && anchor <= next + TILE_WIDTH);
  return Math.min(size, anchored ?? covered + TILE_WIDTH);
}

function bundlePaths({ bundles }: InstanceIndex, span: Span | undefined): readonly string[] {
  // The entry before the span may be the record that announces its first one.
  const inSpan = (index: number) =>
    span !== undefined && (index + 1) * TILE_WIDTH > span.start - 1 && index * TILE_WIDTH < span.dated;
  // Bundle 0 holds the `open` record, by which the logs of all instances hang together.
  return [...bundles].filter(([index]) => index === 0 || inSpan(index)).map(([, { path }]) => path);
}

/** Tiles of level 0 at the right edges of the checkpoint, of the documents, and of the anchor that dates the span. */
function edgeTiles({ anchors, checkpoint = 0, documents, size }: InstanceIndex, span: Span | undefined) {
  const edges = [
    checkpoint,
    size,
    ...documents.slice(span?.first ?? 0, (span?.last ?? 0) + 1).map((mark) => mark.logSize),
    ...(span ? anchors.filter((anchor) => anchor >= span.dated).slice(0, 1) : []),
  ];
  return new Set([0, ...edges.map((edge) => fullTiles(0, edge))]);
}

function isInSpan(tile: number, span: Span | undefined): boolean {
  return span !== undefined && (tile + 1) * TILE_WIDTH > span.start && tile * TILE_WIDTH < span.dated;
}

/** All tiles of upper levels, those of level 0 in the span, and the right edges. */
function tilePaths(index: InstanceIndex, span: Span | undefined): readonly string[] {
  const { checkpoint = 0, paths } = index;
  const edges = edgeTiles(index, span);
  const partials = new Set(partialTiles(checkpoint).map(tilePath));
  return [...paths].filter((path) => {
    if (!path.startsWith('tile/') || path.startsWith('tile/entries/')) return false;
    const { level, index: tile, width } = parseTilePath(path);
    if (width < TILE_WIDTH) return partials.has(path);
    return level !== 0 || isInSpan(tile, span) || edges.has(tile);
  });
}

/** Anchors of trees whose roots the exported tiles give. Of one beyond the log's end an audit has something to say. */
function anchorPaths(index: InstanceIndex, span: Span | undefined): readonly string[] {
  const edges = edgeTiles(index, span);
  const isGiven = (size: number) => {
    const tile = fullTiles(0, size);
    return size > index.size || size % TILE_WIDTH === 0 || isInSpan(tile, span) || edges.has(tile);
  };
  return index.anchors.filter(isGiven).map((size) => `anchors/${size}.cbor`);
}

async function evidencePaths(
  { files, paths }: InstanceIndex,
  seqs: readonly number[],
): Promise<readonly string[]> {
  const found: string[] = [];
  for (const seq of new Set(seqs)) {
    found.push(`evidence/${seq}.cbor`);
    const named = `evidence/${seq}.collateral`;
    if (!paths.has(named)) continue;
    const digest = Buffer.from(await requireFile(files, named))
      .toString('latin1')
      .trim();
    found.push(named, `collateral/${digest}.cbor`);
  }
  return found;
}
