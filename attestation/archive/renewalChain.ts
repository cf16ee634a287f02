import { equalBytes } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { isoTime } from '../x509/time.ts';
import { readFileList } from './fileList.ts';
import type { RenewalProblem, RenewalProblemCode } from './problems.ts';
import {
  isHashTreeRenewal,
  parseRenewal,
  RENEWALS,
  SegmentTree,
  type FileEntry,
  type RenewalRecord,
  type Segment,
} from './renewal.ts';
import { listName, parseRenewalName, recordName, type RenewalFiles } from './renewalFiles.ts';
import {
  verifyRenewalTimestamp,
  type RefusedTimestamp,
  type RenewalTimestamp,
  type TimestampTrust,
} from './renewalTimestamp.ts';

/** One renewal as it was judged. */
export interface Renewal {
  readonly record: RenewalRecord;
  readonly kind: 'hash-tree' | 'timestamp';
  /** By trusted authorities, and covered by the next renewal that has one. */
  readonly timestamps: readonly RenewalTimestamp[];
  readonly refused: readonly RefusedTimestamp[];
  /** When it surely existed, milliseconds since 1970: the earliest timestamp that the next renewal came in time for. */
  readonly time: number | undefined;
  /**
   * Whether it is still as good as on its day: its timestamps can be relied on now, or a renewal came before they
   * could not, and so on to the newest. Its time may be relied on only then.
   */
  readonly standing: boolean;
}

export interface RenewalChain {
  /** By seq. */
  readonly renewals: readonly Renewal[];
  readonly problems: readonly RenewalProblem[];
}

export interface ChainContext extends TimestampTrust {
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
}

interface Found {
  readonly bytes: Uint8Array;
  readonly record: RenewalRecord;
  /** Names of timestamps. */
  readonly timestamps: readonly string[];
}

type Judged = Omit<Renewal, 'time' | 'standing'>;
type Report = (code: RenewalProblemCode, seq: number, detail: string) => void;

/** What a later renewal says of the files before it; nothing but what it names counts. */
interface Guard {
  readonly record: RenewalRecord;
  readonly entries: ReadonlyMap<string, FileEntry>;
}

/** Judges records and timestamps, newest first: what a later renewal does not cover may have been made after it. */
export async function verifyRenewalChain(files: RenewalFiles, context: ChainContext): Promise<RenewalChain> {
  const problems: RenewalProblem[] = [];
  const report: Report = (code, seq, detail) => void problems.push({ code, seq, detail });
  const found = await findRecords(files, report);
  checkLine(found, context.crypto, report);
  const renewals: Renewal[] = [];
  let guard: Guard | undefined;
  let next: Renewal | undefined;
  let linked = true;
  for (const item of found.toReversed()) {
    const judged = await judge(item, guard, files, context, report);
    const isCovered = !guard || isNamed(guard, recordName(item.record.seq), item.bytes, context.crypto);
    if (!isCovered) report('RENEWAL_ALTERED', item.record.seq, 'the next renewal is of another record');
    linked &&= isCovered;
    const good = goodTimestamps(judged, next, context, report);
    const renewal: Renewal = {
      ...judged,
      time: timeOf(good.length > 0 ? good : judged.timestamps),
      standing: linked && good.length > 0 && (next?.standing ?? true),
    };
    renewals.unshift(renewal);
    if (renewal.time !== undefined) {
      next = renewal;
      guard = await readGuard(files, item.record, context.crypto, report);
    }
  }
  return { renewals, problems };
}

async function findRecords(files: RenewalFiles, report: Report): Promise<readonly Found[]> {
  const present = new Set<number>();
  const timestamps = new Map<number, string[]>();
  for (const name of await files.names()) {
    const parsed = parseRenewalName(name);
    // A list without its record is a renewal that was not finished.
    if (parsed?.kind === 'record') present.add(parsed.seq);
    if (parsed?.kind === 'timestamp')
      timestamps.set(parsed.seq, [...(timestamps.get(parsed.seq) ?? []), name]);
  }
  const found: Found[] = [];
  let expected = 0;
  for (const seq of [...new Set([...present, ...timestamps.keys()])].sort((a, b) => a - b)) {
    if (seq > expected)
      report('RENEWAL_MISSING', expected, `renewals ${expected} to ${seq - 1} are not there`);
    expected = seq + 1;
    const bytes = present.has(seq) ? await files.read(recordName(seq)) : undefined;
    if (!bytes) report('RENEWAL_MISSING', seq, `${recordName(seq)} is not there`);
    const record = bytes && readRecord(bytes, seq, report);
    if (record) found.push({ bytes, record, timestamps: timestamps.get(seq) ?? [] });
  }
  return found;
}

function readRecord(bytes: Uint8Array, seq: number, report: Report): RenewalRecord | undefined {
  try {
    const record = parseRenewal(bytes);
    if (record.seq === seq) return record;
    report('RENEWAL_MALFORMED', seq, `${recordName(seq)} is renewal ${record.seq}`);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    report('RENEWAL_MALFORMED', seq, `${recordName(seq)}: ${error.message}`);
  }
  return undefined;
}

/** Each record names the one before it. */
function checkLine(found: readonly Found[], crypto: CryptoProvider, report: Report): void {
  found.forEach(({ record }, i) => {
    const before = found[i - 1];
    if (!before || before.record.seq !== record.seq - 1 || !record.previous) return;
    if (equalBytes(record.previous, crypto.hash(record.hash, before.bytes))) return;
    report('RENEWAL_ALTERED', record.seq, `it follows another record than ${recordName(before.record.seq)}`);
  });
}

async function judge(
  { bytes, record, timestamps: names }: Found,
  guard: Guard | undefined,
  files: RenewalFiles,
  context: ChainContext,
  report: Report,
): Promise<Judged> {
  const timestamps: RenewalTimestamp[] = [];
  const refused: RefusedTimestamp[] = [];
  for (const name of names) {
    const file = await files.read(name);
    if (!file) continue;
    if (guard && !isNamed(guard, name, file, context.crypto)) {
      const reason = `renewal ${guard.record.seq} does not cover it: it may have been made later`;
      refused.push({ name, code: 'TIMESTAMP_MISMATCH', reason });
      continue;
    }
    const judged = await verifyRenewalTimestamp({ name, bytes: file }, { bytes, hash: record.hash }, context);
    if ('code' in judged) refused.push(judged);
    else timestamps.push(judged);
  }
  if (timestamps.length === 0) {
    const why = refused.map(({ name, reason }) => `; ${name}: ${reason}`).join('');
    report('RENEWAL_UNSTAMPED', record.seq, `no timestamp by a trusted authority${why}`);
  }
  const kind = isHashTreeRenewal(record) ? 'hash-tree' : 'timestamp';
  return { record, kind, timestamps, refused };
}

function timeOf(timestamps: readonly RenewalTimestamp[]): number | undefined {
  return timestamps.length > 0 ? Math.min(...timestamps.map(({ time }) => time)) : undefined;
}

function isNamed(
  { record, entries }: Guard,
  name: string,
  bytes: Uint8Array,
  crypto: CryptoProvider,
): boolean {
  const entry = entries.get(name);
  return entry !== undefined && equalBytes(entry.digest, crypto.hash(record.hash, bytes));
}

/** The timestamps that could be relied on, with the hash, when the next renewal came, or at the judged time. */
function goodTimestamps(
  { record, timestamps }: Judged,
  next: Renewal | undefined,
  { now, ends = {} }: ChainContext,
  report: Report,
): readonly RenewalTimestamp[] {
  if (timestamps.length === 0) return [];
  const then = next?.time ?? now;
  const earlier = timestamps.filter(({ earliest }) => earliest <= then);
  if (earlier.length === 0) {
    report('TIMES_CONTRADICT', record.seq, 'its timestamps are later than what follows');
    return [];
  }
  const hashEnd = ends[record.hash] ?? Infinity;
  const good = earlier.filter(({ until }) => then <= Math.min(until, hashEnd));
  if (good.length === 0) {
    const end = Math.min(hashEnd, Math.max(...earlier.map(({ until }) => until)));
    const who = next ? `renewal ${next.record.seq} came` : 'it is judged';
    report('RENEWAL_LATE', record.seq, `${who} at ${isoTime(then)}, after ${isoTime(end)}`);
  }
  return good;
}

/** Without its list a renewal covers nothing that came before it. */
async function readGuard(
  files: RenewalFiles,
  record: RenewalRecord,
  crypto: CryptoProvider,
  report: Report,
): Promise<Guard> {
  const segment = record.segments.find(({ name }) => name === RENEWALS);
  if (!segment) return { record, entries: new Map() };
  const entries = new Map<string, FileEntry>();
  const bytes = await readSegmentList(files, record, segment, crypto, report);
  if (!bytes) return { record, entries };
  for (const entry of readFileList(bytes, record.hash)) entries.set(entry.path, entry);
  return { record, entries };
}

/** Bytes of a list whose tree is the one that the record names; undefined, and reported, where there is none. */
export async function readSegmentList(
  files: RenewalFiles,
  { hash, seq }: RenewalRecord,
  segment: Segment,
  crypto: CryptoProvider,
  report: Report,
): Promise<Uint8Array | undefined> {
  const name = listName(seq, segment.name);
  const bytes = await files.read(name);
  if (!bytes) {
    report('RENEWAL_MISSING', seq, `${name} is not there`);
    return undefined;
  }
  try {
    const tree = new SegmentTree(hash, crypto);
    for (const entry of readFileList(bytes, hash)) tree.add(entry);
    const { root, count, bytes: total } = tree.segment(segment.name);
    if (equalBytes(root, segment.root) && count === segment.count && total === segment.bytes) return bytes;
    report('RENEWAL_ALTERED', seq, `${name} is not the list of the renewal`);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    report('RENEWAL_MALFORMED', seq, `${name}: ${error.message}`);
  }
  return undefined;
}
