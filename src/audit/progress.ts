import type { FindingList, Finding, AuditFindingCode } from './findings.ts';
import type { BundleFacts, CitationRun } from './tasks.ts';

/** Receipts that cite one document: the span of their places, and how many they are. */
export interface Citations {
  first: number;
  last: number;
  receipts: number;
}

export interface ActMark {
  readonly index: number;
  readonly issuedAt: number;
  readonly act: string;
  readonly actor: string;
  readonly rule: string;
  readonly subject: string;
  readonly count: number;
}

/** Bundles `from` to `to` - 1. */
export interface BundleRange {
  readonly from: number;
  to: number;
}

export interface WatchedRange {
  readonly manifest: string;
  readonly from: number;
  to: number;
}

/** How far the entries of one instance are audited: plain values, so that an audit that was stopped goes on. */
export interface EntryProgress {
  /** Bundles below are done. */
  bundles: number;
  roots: readonly string[];
  /** Roots at the sizes that were asked for, hex, by size. */
  rootAt: Record<string, string>;
  entries: number;
  receipts: number;
  /** Statements of others that records announce. */
  statements: number;
  signatures: number;
  /** The last record that announces a statement: its index, and the statement's subject in hex. */
  announced: { readonly index: number; readonly subject: string } | undefined;
  /** Seq that was cited last; -1 before the first receipt. */
  lastSeq: number;
  /** By seq. */
  citations: Record<string, Citations>;
  /** Index of the `epoch` record of each document, by seq. */
  epochRecords: Record<string, number>;
  acts: ActMark[];
  /** By hour since 1970. */
  hours: Record<string, number>;
  models: Record<string, number>;
  outcomes: Record<string, number>;
  watched: WatchedRange[];
  /** Bundles of which the entries are not there. */
  missing: BundleRange[];
}

export function startProgress(): EntryProgress {
  return {
    bundles: 0,
    roots: [],
    rootAt: {},
    entries: 0,
    receipts: 0,
    statements: 0,
    signatures: 0,
    announced: undefined,
    lastSeq: -1,
    citations: {},
    epochRecords: {},
    acts: [],
    hours: {},
    models: {},
    outcomes: {},
    watched: [],
    missing: [],
  };
}

/** Models and hours of a hostile log could be as many as its entries: beyond this they are counted as one. */
const MAX_NAMES = 10_000;
const OTHER = '(other)';

export function countInto(counts: Record<string, number>, name: string, count: number): void {
  const known = Object.hasOwn(counts, name) || Object.keys(counts).length < MAX_NAMES;
  const key = known ? name : OTHER;
  counts[key] = (counts[key] ?? 0) + count;
}

export function addCounts(progress: EntryProgress, facts: BundleFacts, width: number): void {
  progress.entries += width;
  progress.receipts += facts.receipts;
  progress.signatures += facts.signatures;
  for (const [hour, count] of facts.hours) countInto(progress.hours, String(hour), count);
  for (const [model, count] of facts.models) countInto(progress.models, model, count);
  for (const [outcome, count] of facts.outcomes) countInto(progress.outcomes, outcome, count);
  for (const range of facts.watched) addRange(progress.watched, range);
}

function addRange(ranges: WatchedRange[], { manifest, from, to }: WatchedRange): void {
  const last = ranges.findLast((range) => range.manifest === manifest);
  if (last?.to === from) last.to = to;
  else ranges.push({ manifest, from, to });
}

export function addCitations(progress: EntryProgress, seq: number, run: CitationRun): void {
  const known = progress.citations[seq];
  if (!known) progress.citations[seq] = { first: run.from, last: run.to - 1, receipts: run.receipts };
  else {
    known.last = Math.max(known.last, run.to - 1);
    known.receipts += run.receipts;
  }
}

export function addMissing({ missing }: EntryProgress, bundle: number): void {
  const last = missing.at(-1);
  if (last?.to === bundle) last.to = bundle + 1;
  else missing.push({ from: bundle, to: bundle + 1 });
}

/** Findings as plain values. */
export interface SavedFindings {
  readonly listed: readonly Finding[];
  readonly counts: readonly (readonly [AuditFindingCode, number])[];
}

export function saveFindings({ listed, counts }: FindingList): SavedFindings {
  return { listed: [...listed], counts: [...counts] };
}
