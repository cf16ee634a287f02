import { documentDigest, parseDocument } from '../../../attestation/evidence/document.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { parseCheckpoint } from '../../../attestation/log/checkpoint.ts';
import { parseNote } from '../../../attestation/log/note.ts';
import { bundleEnds, parseTilePath, TILE_WIDTH } from '../../../attestation/log/tiles.ts';
import { entryKindOf } from '../../../attestation/receipt/entryKind.ts';
import { parseRecord } from '../../../attestation/receipt/record.ts';
import { ReceiptSkimmer } from '../../../attestation/receipt/skim.ts';
import { ExportError } from '../../export/errors.ts';
import type { InstanceFiles } from '../../export/source.ts';

/** An evidence document as far as a selection needs it. */
export interface DocumentMark {
  readonly seq: number;
  readonly logSize: number;
  /** Digests of the document and of its keyset, hex. */
  readonly digest: string;
  readonly keyset: string;
}

/** What lies in one instance's folder. */
export interface InstanceIndex {
  readonly files: InstanceFiles;
  readonly paths: ReadonlySet<string>;
  /** Path of the fullest bundle of entries by index. */
  readonly bundles: ReadonlyMap<number, { readonly path: string; readonly width: number }>;
  /** Entries that the source holds. */
  readonly size: number;
  /** Size of the newest checkpoint; undefined without one. */
  readonly checkpoint: number | undefined;
  /** By seq, ascending. */
  readonly documents: readonly DocumentMark[];
  /** Sizes of anchored checkpoints, ascending. */
  readonly anchors: readonly number[];
}

const EVIDENCE = /^evidence\/(\d+)\.cbor$/;
const ANCHOR = /^anchors\/(\d+)\.cbor$/;

export async function indexInstance(files: InstanceFiles): Promise<InstanceIndex> {
  const paths = new Set<string>();
  for await (const path of files.paths()) paths.add(path);
  const bundles = widestBundles(paths);
  const size = [...bundles].reduce(
    (most, [index, { width }]) => Math.max(most, index * TILE_WIDTH + width),
    0,
  );
  const documents: DocumentMark[] = [];
  for (const seq of numbered(paths, EVIDENCE)) documents.push(await readMark(files, seq));
  const note = await files.read('checkpoint');
  return {
    files,
    paths,
    bundles,
    size,
    checkpoint: note && parseCheckpoint(parseNote(note).text).size,
    documents,
    anchors: numbered(paths, ANCHOR),
  };
}

function widestBundles(paths: ReadonlySet<string>): Map<number, { path: string; width: number }> {
  const bundles = new Map<number, { path: string; width: number }>();
  for (const path of paths) {
    if (!path.startsWith('tile/entries/')) continue;
    const { index, width } = parseTilePath(path);
    if (width > (bundles.get(index)?.width ?? 0)) bundles.set(index, { path, width });
  }
  return bundles;
}

function numbered(paths: ReadonlySet<string>, pattern: RegExp): readonly number[] {
  const numbers = [...paths].flatMap((path) => {
    const [, number] = pattern.exec(path) ?? [];
    return number === undefined ? [] : [Number(number)];
  });
  return numbers.sort((a, b) => a - b);
}

async function readMark(files: InstanceFiles, seq: number): Promise<DocumentMark> {
  const encoded = await requireFile(files, `evidence/${seq}.cbor`);
  const { statement } = parseDocument(encoded);
  return {
    seq,
    logSize: statement.logSize,
    digest: toHex(documentDigest(encoded, nodeCrypto)),
    keyset: toHex(statement.keysetDigest),
  };
}

export async function requireFile(files: InstanceFiles, path: string): Promise<Uint8Array> {
  const bytes = await files.read(path);
  if (!bytes) throw new ExportError('SOURCE_CHANGED', `${files.instance}: ${path} is gone`);
  return bytes;
}

const skimmer = new ReceiptSkimmer();

/** When an entry was issued by the guest's clock, in ms; undefined where retention removed the entry. */
export async function issuedAt(
  { bundles, files }: Pick<InstanceIndex, 'bundles' | 'files'>,
  index: number,
): Promise<number | undefined> {
  const bundle = bundles.get(Math.floor(index / TILE_WIDTH));
  if (!bundle) return undefined;
  const bytes = await requireFile(files, bundle.path);
  const ends = bundleEnds(bytes);
  const [start, end] = [ends[(index % TILE_WIDTH) - 1] ?? 0, ends[index % TILE_WIDTH]];
  if (end === undefined) return undefined;
  const entry = bytes.subarray(start + 2, end);
  // A statement of others states no time of this log: the record right before it does.
  if (entryKindOf(entry) === 'foreign')
    return index === 0 ? undefined : issuedAt({ bundles, files }, index - 1);
  const seconds = skimmer.read(entry) ? skimmer.issuedAt : parseRecord(entry).record.issuedAt;
  return seconds * 1000;
}
