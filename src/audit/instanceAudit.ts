import { toHex } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import type { Keyset } from '../../attestation/keyset.ts';
import { verifyCheckpoint } from '../../attestation/log/checkpoint.ts';
import { judgeAnchors, upperOf, type AnchorTime } from './anchors.ts';
import { coverReceipts } from './coverage.ts';
import { passDocuments } from './documentPass.ts';
import { passEntries, WantedSizes } from './entryPass.ts';
import { EntryReader } from './entryReader.ts';
import { judgedEntries, readLine, type DocumentMark, type EvidenceLine } from './evidenceLine.ts';
import type { FindingList } from './findings.ts';
import { entriesOf, type ListedInstance } from './instanceFiles.ts';
import { saveFindings, type EntryProgress } from './progress.ts';
import type { DocumentReport, InstanceReport } from './report.ts';
import type { Workers } from './workers.ts';

/** What the manifest says of the span; undefined members where everything is there. */
export interface ExportedSpan {
  readonly entries: readonly [first: number, last: number] | undefined;
  readonly documents: readonly [first: number, last: number] | undefined;
  /** Entries that the source held. */
  readonly size: number | undefined;
}

export interface InstanceAudit {
  readonly listed: ListedInstance;
  readonly span: ExportedSpan | undefined;
  readonly context: AppraisalContext;
  readonly workers: Workers;
  readonly signatures: 'all' | 'covered';
  /** Whether documents are judged at the caller's time and not at that of their anchors. */
  readonly atGivenTime: boolean;
  /** Sizes of this log that its successors name. */
  readonly namedSizes: readonly number[];
  readonly findings: FindingList;
  readonly progress: EntryProgress;
  readonly onBundles: (bytes: number) => Promise<void>;
  readonly onDocument: () => void;
}

interface VerifiedHead {
  readonly size: number;
  readonly root: string;
}

/** Audits one instance from its evidence line to the coverage of its last receipt. */
export async function auditInstance(audit: InstanceAudit): Promise<InstanceReport> {
  const { context, findings, listed, progress, workers } = audit;
  const line = await readLine(listed, audit.span?.documents, findings);
  const judged = judgedEntries(audit.span?.entries);
  const { instance } = listed.files;
  await workers.enter({ kind: 'instance', instance, keysets: [...line.keysets], judged });
  const head = await readHead(audit, line.first);
  const reader = new EntryReader(line, audit.span?.entries);
  const size = Math.max(entriesOf(listed), head?.size ?? 0);
  const lastSize = line.marks.at(-1)?.logSize ?? 0;
  const pass = { listed, workers, progress, findings, reader, size, onBundles: audit.onBundles };
  await passEntries({
    ...pass,
    sizes: wantedSizes(audit, line, head),
    verifyFrom: audit.signatures === 'all' ? 0 : Math.min(lastSize, head?.size ?? 0),
  });
  judgeRoots(audit, line, head, size);
  const anchors = line.first
    ? await judgeAnchors(listed, line.first, (at) => progress.rootAt[at], context, findings)
    : [];
  const uppers = new Map(line.marks.map((mark) => [mark.seq, upperOfDocument(mark, progress, anchors)]));
  const facts = await passDocuments({
    listed,
    workers,
    marks: line.marks,
    timeOf: ({ seq }) => (audit.atGivenTime ? undefined : uppers.get(seq)?.time) ?? context.now,
    findings,
    onDocument: audit.onDocument,
  });
  const documents = line.marks.flatMap((mark): DocumentReport[] => {
    const found = facts.get(mark.seq);
    const [cited, record, upper] = [
      progress.citations[mark.seq],
      progress.epochRecords[mark.seq],
      uppers.get(mark.seq),
    ];
    return found ? [{ ...mark, facts: found, cited, record, upper }] : [];
  });
  const coveredSize = await coverReceipts(audit, documents, head, { line, size, lastSize });
  return { ...reportOf(audit, head), documents, anchors, coveredSize, findings: saveFindings(findings) };
}

function reportOf(
  { listed, progress }: InstanceAudit,
  head: VerifiedHead | undefined,
): Omit<InstanceReport, 'documents' | 'anchors' | 'coveredSize' | 'findings'> {
  const { instance, origin, created } = listed.files;
  const {
    acts,
    entries,
    hours,
    missing,
    models,
    outcomes,
    receipts,
    rootAt,
    signatures,
    statements,
    watched,
  } = progress;
  return {
    instance,
    origin,
    created,
    checkpoint: head,
    entries,
    receipts,
    statements,
    signatures,
    acts,
    hours,
    models,
    outcomes,
    watched,
    missing,
    rootAt,
  };
}

/** The newest checkpoint, under the log key of the first document; whether hardware vouches for it is judged there. */
async function readHead(
  { context, findings, listed }: InstanceAudit,
  keyset: Keyset | undefined,
): Promise<VerifiedHead | undefined> {
  const note = await listed.files.read('checkpoint');
  if (!note) {
    const detail = 'there is no checkpoint';
    findings.add({ check: 'log.checkpoint', code: 'CHECKPOINT_MISSING', severity: 'warning', detail });
    return undefined;
  }
  if (!keyset) return undefined;
  try {
    const { root, size } = await verifyCheckpoint(note, keyset.origin, keyset.log.x, context.crypto);
    return { size, root: toHex(root) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    findings.add({ check: 'log.checkpoint', code: error.code, severity: 'fail', detail: error.message });
    return undefined;
  }
}

function wantedSizes(
  { listed, namedSizes }: InstanceAudit,
  { marks }: EvidenceLine,
  head: VerifiedHead | undefined,
): WantedSizes {
  return new WantedSizes([
    ...marks.map(({ logSize }) => logSize),
    ...(head ? [head.size] : []),
    ...listed.anchors,
    ...namedSizes,
  ]);
}

/** The tree that the entries gave must be the one that the log signed and that each hardware report commits to. */
function judgeRoots(
  audit: InstanceAudit,
  { marks }: EvidenceLine,
  head: VerifiedHead | undefined,
  size: number,
): void {
  const { findings, progress, span } = audit;
  if (head) judgeHead(audit, head);
  for (const { logRoot, logSize, seq } of marks) {
    const root = logSize === 0 ? logRoot : progress.rootAt[logSize];
    const inSpan = !span?.documents || (seq >= span.documents[0] && seq <= span.documents[1]);
    if (root === logRoot || (root === undefined && !inSpan)) continue;
    const detail = `the hardware commits to root ${logRoot} of ${logSize} entries, the entries give ${root ?? 'none'}`;
    const code = logSize > size ? 'LOG_TRUNCATED' : 'TREE_MISMATCH';
    findings.add({ check: 'evidence.root', code, severity: 'fail', seq, index: logSize, detail });
  }
}

function judgeHead({ findings, listed, progress }: InstanceAudit, head: VerifiedHead): void {
  const [here, root] = [entriesOf(listed), progress.rootAt[head.size]];
  if (here < head.size) {
    const detail = `the checkpoint is of ${head.size} entries, ${here} are there`;
    findings.add({ check: 'log.tree', code: 'LOG_TRUNCATED', severity: 'fail', index: here, detail });
  } else if (head.size > 0 && root !== head.root) {
    const detail = `the checkpoint of ${head.size} entries has root ${head.root}, the entries give ${root ?? 'none'}`;
    findings.add({ check: 'log.tree', code: 'TREE_MISMATCH', severity: 'fail', detail });
  }
}

/** A document was there when the log first named it: in its `epoch` record, or in a receipt that cites it. */
function upperOfDocument(
  { seq }: DocumentMark,
  { citations, epochRecords }: EntryProgress,
  anchors: readonly AnchorTime[],
): { readonly time: number; readonly by: string } | undefined {
  const named = Math.min(epochRecords[seq] ?? Infinity, citations[seq]?.first ?? Infinity);
  const upper = Number.isFinite(named) ? upperOf(anchors, named) : undefined;
  return upper && { time: upper.time, by: upper.by };
}
