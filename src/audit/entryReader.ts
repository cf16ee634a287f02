import { toHex } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { TILE_WIDTH } from '../../attestation/log/tiles.ts';
import { announcedSubject } from '../../attestation/receipt/entryKind.ts';
import { parseRecord, type LogRecord, type Predecessor } from '../../attestation/receipt/record.ts';
import { judgedEntries, type DocumentMark, type EvidenceLine, type JudgedEntries } from './evidenceLine.ts';
import type { FindingList, LocalFinding } from './findings.ts';
import { addCitations, type EntryProgress } from './progress.ts';
import type { BundleFacts, CitationRun, ForeignEntry } from './tasks.ts';

/** Acts that are kept for the report. */
const MAX_ACTS = 10_000;

/** Compares what the entries of one instance say with its line of evidence. */
export class EntryReader {
  readonly #marks: ReadonlyMap<string, DocumentMark>;
  readonly #judged: JudgedEntries | undefined;
  readonly #bySeq: ReadonlyMap<number, DocumentMark>;

  /** `span`: the entries that an export of a time range is about; others lie in its bundles, too. */
  constructor(line: EvidenceLine, span: readonly [first: number, last: number] | undefined) {
    const { marks } = line;
    this.#judged = judgedEntries(span);
    this.#marks = new Map(marks.map((mark) => [mark.digest, mark]));
    this.#bySeq = new Map(marks.map((mark) => [mark.seq, mark]));
  }

  read({ first, foreign, records, runs }: BundleFacts, progress: EntryProgress, findings: FindingList): void {
    for (const run of runs) this.#cite(run, progress, findings);
    if (first === 0 && records[0]?.index !== 0) {
      findings.add(
        fault('log.records', 'RECORD_MISPLACED', 0, 'the log does not begin with its opening record'),
      );
    }
    // In the order of the log: each statement stands right behind the record that announces it.
    let next = 0;
    for (const { index, bytes } of records) {
      for (; (foreign[next]?.index ?? Infinity) < index; next++)
        this.#foreign(foreign[next], progress, findings);
      const record = readable(bytes);
      if (record) this.#record(record, index, progress, findings);
    }
    for (; next < foreign.length; next++) this.#foreign(foreign[next], progress, findings);
  }

  #foreign(entry: ForeignEntry | undefined, progress: EntryProgress, findings: FindingList): void {
    if (!entry) return;
    const { announced } = progress;
    if (announced?.index === entry.index - 1 && announced.subject === entry.subject) progress.statements++;
    else if (!this.#isCutOff(entry, progress)) findings.add(entry.finding);
  }

  /** Whether an export of a range rightly lacks the bundle whose last entry could announce it. */
  #isCutOff({ index }: ForeignEntry, { missing }: EntryProgress): boolean {
    const isBeforeSpan = this.#judged !== undefined && index < this.#judged.from;
    const gap = missing.at(-1);
    return isBeforeSpan && gap !== undefined && gap.to * TILE_WIDTH === index;
  }

  #cite(run: CitationRun, progress: EntryProgress, findings: FindingList): void {
    const mark = this.#marks.get(run.evidence);
    if (!mark && !run.judged) return;
    if (!mark) {
      const detail = `${run.receipts} receipts cite ${run.evidence}, which is not in the line`;
      findings.add({ ...fault('receipts.evidence', 'EVIDENCE_UNKNOWN', run.from, detail), last: run.to - 1 });
      return;
    }
    for (const finding of citationFaults(mark, run, progress.lastSeq)) findings.add(finding);
    progress.lastSeq = Math.max(progress.lastSeq, mark.seq);
    addCitations(progress, mark.seq, run);
  }

  #record(record: LogRecord, index: number, progress: EntryProgress, findings: FindingList): void {
    if ((record.kind === 'open') !== (index === 0)) {
      findings.add(
        fault('log.records', 'RECORD_MISPLACED', index, `an ${record.kind} record stands at ${index}`),
      );
    }
    const subject = announcedSubject(record);
    if (subject) progress.announced = { index, subject: toHex(subject) };
    if (record.kind === 'act') {
      const { act, actor, count, issuedAt, rule } = record;
      if (progress.acts.length < MAX_ACTS) {
        progress.acts.push({ index, issuedAt, act, actor, rule, subject: toHex(record.subject), count });
      }
    } else if (record.kind === 'epoch') this.#epoch(record, index, progress, findings);
  }

  #epoch(
    { evidenceDigest, seq }: Extract<LogRecord, { kind: 'epoch' }>,
    index: number,
    progress: EntryProgress,
    findings: FindingList,
  ): void {
    const mark = this.#bySeq.get(seq);
    // Of a document outside the exported span nothing is known.
    if (!mark) return;
    if (mark.digest !== toHex(evidenceDigest) || index < mark.logSize) {
      const detail = `the record of document ${seq} names ${toHex(evidenceDigest)}`;
      findings.add({ ...fault('log.records', 'EPOCH_MISMATCH', index, detail), seq });
    } else if (!Object.hasOwn(progress.epochRecords, seq)) progress.epochRecords[seq] = index;
  }
}

function* citationFaults(mark: DocumentMark, run: CitationRun, lastSeq: number): Generator<LocalFinding> {
  const range = { last: run.to - 1, seq: mark.seq };
  if (mark.seq < lastSeq) {
    const detail = `receipts cite document ${mark.seq} after one that cites ${lastSeq}`;
    yield { ...fault('receipts.evidence', 'EVIDENCE_REGRESSED', run.from, detail), ...range };
  }
  if (run.from < mark.logSize) {
    const detail = `the cited document ${mark.seq} was made when the log had ${mark.logSize} entries`;
    yield { ...fault('receipts.evidence', 'INDEX_OUT_OF_RANGE', run.from, detail), ...range };
  }
  if (mark.keyset !== run.keyset) {
    const detail = `receipts are of keyset ${run.keyset}, their evidence vouches for ${mark.keyset}`;
    yield { ...fault('receipts.evidence', 'KEYSET_MISMATCH', run.from, detail), ...range };
  }
  if (mark.final) {
    const detail = `receipts cite document ${mark.seq}, which says that the instance ended`;
    yield { ...fault('evidence.final', 'AFTER_FINAL', run.from, detail), ...range };
  }
}

/** What an `open` record says of the instance before; undefined where it cannot be read or is none. */
export function readOpening(
  entry: Uint8Array,
): { readonly predecessor: Predecessor | undefined } | undefined {
  const record = readable(entry);
  return record?.kind === 'open' ? { predecessor: record.predecessor } : undefined;
}

/** A record that cannot be read is found where its signature is verified. */
function readable(entry: Uint8Array): LogRecord | undefined {
  try {
    return parseRecord(entry).record;
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

function fault(
  check: LocalFinding['check'],
  code: LocalFinding['code'],
  index: number,
  detail: string,
): LocalFinding & { readonly index: number } {
  return { check, code, severity: 'fail', index, detail };
}
