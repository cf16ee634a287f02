import { NO_COLLATERAL, type Collateral } from '../../attestation/collateral.ts';
import { type Covering, encodeBundle, type Witnessed } from '../../attestation/bundle/bundle.ts';
import { parseCollateral } from '../../attestation/bundle/collateral.ts';
import { fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { decodeDc } from '../../attestation/cbor/deterministic.ts';
import { parseAnchor } from '../../attestation/log/anchor.ts';
import { ArchivedTree } from './archivedTree.ts';
import { ArchiveError } from './errors.ts';
import { type FilesParts, readEntry, readFile } from './files.ts';
import type { ReceiptRow } from './query.ts';
import { bytesOf, numberOf, type Sql, textOf } from './sql.ts';

const MAX_COLLATERAL_BYTES = 16 * 1024 * 1024;
const COLLATERAL_DEPTH = 8;

/** The receipt itself, from its entry bundle. */
export async function archivedReceipt(parts: FilesParts, row: ReceiptRow): Promise<Uint8Array> {
  const entry = await readEntry(parts, row.instance, row.index);
  if (!entry)
    throw new ArchiveError('NOT_FOUND', 'the entry bundle of the receipt is not in the archive yet');
  return entry;
}

/** A receipt of any instance with everything that a verifier needs, and the collateral of its day. */
export async function archivedBundle(parts: FilesParts, row: ReceiptRow): Promise<Uint8Array> {
  const { instance, evidence } = row;
  const receipt = await archivedReceipt(parts, row);
  const cited = evidence && (await readFile(parts, instance, `evidence/${evidence.seq}.cbor`));
  if (!cited)
    throw new ArchiveError('NOT_FOUND', 'the evidence that the receipt cites is not in the archive');
  const later = await coveringOf(parts.sql, row);
  const tree = new ArchivedTree(parts, instance);
  const covering = later && (await readCovering(parts, tree, row, later));
  const witnessed = later && covering && (await readWitnessed(parts, tree, instance, later));
  const collateral =
    (later && (await readCollateral(parts, instance, later.seq))) ??
    (await readCollateral(parts, instance, evidence.seq)) ??
    NO_COLLATERAL;
  const shown = { policy: undefined, verdict: undefined };
  return encodeBundle({ receipt, cited, covering, witnessed, collateral, ...shown });
}

/** A document that covers a receipt, and the checkpoint of its tree. */
interface Later {
  readonly seq: number;
  readonly logSize: number;
  readonly note: Uint8Array;
}

/** The first one that has a signed checkpoint: nobody can sign another of a former instance. */
async function coveringOf(sql: Sql, { instance, index }: ReceiptRow): Promise<Later | undefined> {
  const [row] = await sql.query({
    text: `SELECT seq, log_size, note FROM archive_documents
      WHERE instance = ? AND log_size > ? AND note IS NOT NULL ORDER BY seq LIMIT 1`,
    values: [instance, index],
  });
  return row && { seq: numberOf(row, 'seq'), logSize: numberOf(row, 'log_size'), note: bytesOf(row, 'note') };
}

async function readCovering(
  parts: FilesParts,
  tree: ArchivedTree,
  { instance, index, evidence }: ReceiptRow,
  { seq, logSize, note }: Later,
): Promise<Covering | undefined> {
  const [document, citedSize] = await Promise.all([
    readFile(parts, instance, `evidence/${seq}.cbor`),
    logSizeOf(parts.sql, instance, evidence?.seq ?? 0),
  ]);
  if (!document) return undefined;
  const [inclusion, consistency] = await Promise.all([
    tree.inclusionProof(index, logSize),
    tree.consistencyProof(citedSize, logSize),
  ]);
  return { document, checkpoint: note, inclusion, consistency };
}

/** The first anchored head whose tree holds the record that names the covering document. */
async function readWitnessed(
  parts: FilesParts,
  tree: ArchivedTree,
  instance: string,
  { seq, logSize }: Later,
): Promise<Witnessed | undefined> {
  const [record] = await parts.sql.query({
    text: `SELECT idx FROM archive_entries WHERE instance = ? AND idx >= ? AND kind = 'epoch' AND cited = ?
      ORDER BY idx LIMIT 1`,
    values: [instance, logSize, seq],
  });
  if (!record) return undefined;
  const index = numberOf(record, 'idx');
  const [anchor] = await parts.sql.query({
    text: `SELECT path, ${ANCHOR_SIZE} AS size FROM archive_files WHERE instance = ?
      AND path > 'anchors/' AND path < 'anchors0' AND ${ANCHOR_SIZE} > ? ORDER BY ${ANCHOR_SIZE} LIMIT 1`,
    values: [instance, index],
  });
  if (!anchor) return undefined;
  const size = numberOf(anchor, 'size');
  const [note, entry, consistency, path] = await Promise.all([
    readFile(parts, instance, textOf(anchor, 'path')),
    readEntry(parts, instance, index),
    tree.consistencyProof(logSize, size),
    tree.inclusionProof(index, size),
  ]);
  return note && entry && { ...parseAnchor(note), consistency, epoch: { entry, index, path } };
}

/** The number in `anchors/<size>.cbor`. */
const ANCHOR_SIZE = `CAST(SUBSTR(path, 9, LENGTH(path) - 13) AS BIGINT)`;

async function logSizeOf(sql: Sql, instance: string, seq: number): Promise<number> {
  const [row] = await sql.query({
    text: 'SELECT log_size FROM archive_documents WHERE instance = ? AND seq = ?',
    values: [instance, seq],
  });
  return row ? numberOf(row, 'log_size') : 0;
}

/** What vendors said when the document was made; undefined where nobody kept it. */
async function readCollateral(
  parts: FilesParts,
  instance: string,
  seq: number,
): Promise<Collateral | undefined> {
  const line = await readFile(parts, instance, `evidence/${seq}.collateral`);
  const [, digest] = /^([0-9a-f]{64})\n$/.exec(line ? fromUtf8(line) : '') ?? [];
  const bytes =
    digest === undefined ? undefined : await readFile(parts, instance, `collateral/${digest}.cbor`);
  if (!bytes) return undefined;
  return parseCollateral(decodeDc(bytes, { maxDepth: COLLATERAL_DEPTH, maxBytes: MAX_COLLATERAL_BYTES }));
}
