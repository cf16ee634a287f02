import { equalBytes } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { readFileList } from './fileList.ts';
import type { RenewalProblem } from './problems.ts';
import { RENEWALS, type FileEntry, type RenewalHash, type Segment } from './renewal.ts';
import { readSegmentList, verifyRenewalChain, type ChainContext, type Renewal } from './renewalChain.ts';
import { renewalsSegment, type RenewalFiles, type SegmentFiles } from './renewalFiles.ts';

/** Changed or missing files that are named; the others are counted. */
const MAX_NAMED = 100;

export interface RenewalContext extends ChainContext {
  /** Told of every file that was read. */
  readonly onFile?: ((bytes: number) => void) | undefined;
}

/** What one renewal shows of one segment. */
export interface SegmentCover {
  readonly seq: number;
  /** When the files surely existed as they are, milliseconds since 1970; undefined where it shows nothing. */
  readonly since: number | undefined;
  /** Files that are there and as they were. */
  readonly matched: number;
  readonly changed: number;
  readonly missing: number;
}

export interface RenewedSegment {
  /** Instance, or `renewals`. */
  readonly name: string;
  /** By seq. */
  readonly covers: readonly SegmentCover[];
  /** Files that no renewal covers: they came later, or were added. */
  readonly uncovered: number;
  readonly changed: readonly string[];
  readonly missing: readonly string[];
}

export interface RenewalAudit {
  readonly renewals: readonly Renewal[];
  readonly segments: readonly RenewedSegment[];
  /** Nothing is wrong where it is empty and there are renewals. Of an export of a range, `FILES_MISSING` is to be expected. */
  readonly problems: readonly RenewalProblem[];
}

/**
 * Verifies all renewals and reads every file that they cover. A segment's `since` holds even where SHA-256 or the
 * keys of the day were broken since: each link was made before the former could no longer be relied on.
 */
export async function verifyRenewals(
  renewals: RenewalFiles,
  instances: readonly SegmentFiles[],
  context: RenewalContext,
): Promise<RenewalAudit> {
  const chain = await verifyRenewalChain(renewals, context);
  const problems = [...chain.problems];
  const sources = new Map([...instances, renewalsSegment(renewals)].map((files) => [files.instance, files]));
  const names = new Set(chain.renewals.flatMap(({ record }) => record.segments.map(({ name }) => name)));
  for (const instance of sources.keys()) if (chain.renewals.length > 0) names.add(instance);
  const segments: RenewedSegment[] = [];
  const indexed = chain.renewals.map((renewal) => ({ renewal, segments: segmentsByName(renewal) }));
  for (const name of [...names].sort()) {
    const covers = await readCovers(name, indexed, renewals, context.crypto, problems);
    const read = await compare(name, sources.get(name), covers, context);
    segments.push(read);
    problems.push(...problemsOf(read));
  }
  return { renewals: chain.renewals, segments, problems };
}

interface Cover {
  readonly renewal: Renewal;
  readonly hash: RenewalHash;
  readonly entries: Iterator<FileEntry, void>;
  next: FileEntry | undefined;
  matched: number;
  /** Those of the matched whose digest says something: by a hash that is good, or that a later cover came in time for. */
  shown: number;
  changed: number;
  missing: number;
}

interface IndexedRenewal {
  readonly renewal: Renewal;
  readonly segments: ReadonlyMap<string, Segment>;
}

/** An archive may have thousands of instances: each is looked up in each renewal. */
function segmentsByName({ record }: Renewal): ReadonlyMap<string, Segment> {
  return new Map(record.segments.map((segment) => [segment.name, segment]));
}

async function readCovers(
  name: string,
  renewals: readonly IndexedRenewal[],
  files: RenewalFiles,
  crypto: CryptoProvider,
  problems: RenewalProblem[],
): Promise<readonly Cover[]> {
  const covers: Cover[] = [];
  for (const { renewal, segments } of renewals) {
    const { record } = renewal;
    const segment = segments.get(name);
    // The list of the former renewals was reported with the chain.
    const report = (code: RenewalProblem['code'], seq: number, detail: string): void => {
      if (name !== RENEWALS || renewal.time === undefined) problems.push({ code, seq, detail });
    };
    const bytes = segment && (await readSegmentList(files, record, segment, crypto, report));
    if (!bytes) continue;
    const entries = readFileList(bytes, record.hash);
    const cover: Cover = {
      renewal,
      hash: record.hash,
      entries,
      next: undefined,
      matched: 0,
      shown: 0,
      changed: 0,
      missing: 0,
    };
    advance(cover);
    covers.push(cover);
  }
  return covers;
}

function advance(cover: Cover): void {
  const step = cover.entries.next();
  cover.next = step.done === true ? undefined : step.value;
}

/** Goes through the files and all lists side by side, for both have one order; every file is read once. */
async function compare(
  name: string,
  files: SegmentFiles | undefined,
  covers: readonly Cover[],
  context: RenewalContext,
): Promise<RenewedSegment> {
  const changed = new Names();
  const missing = new Names();
  let uncovered = 0;
  for await (const path of files?.paths() ?? []) {
    for (const cover of covers) skipTo(cover, path, missing);
    const expecting = covers.filter(({ next }) => next?.path === path);
    if (expecting.length === 0) uncovered++;
    // A file that is listed and not there is missing: its line stays and is skipped later.
    const bytes = expecting.length > 0 ? await files?.read(path) : undefined;
    if (!bytes) continue;
    context.onFile?.(bytes.length);
    if (!compareFile(bytes, expecting, context)) changed.add(path);
  }
  for (const cover of covers) skipTo(cover, undefined, missing);
  return { name, covers: covers.map(coverOf), uncovered, changed: changed.list, missing: missing.list };
}

/**
 * Whether a file is as every list says; each hash is computed once. Newest first: a digest by a hash that is broken
 * says something of the file only where a later cover of the same file came before the break.
 */
function compareFile(
  bytes: Uint8Array,
  expecting: readonly Cover[],
  { crypto, ends = {}, now }: RenewalContext,
): boolean {
  const digests = new Map<RenewalHash, Uint8Array>();
  let isSame = true;
  let until = now;
  for (const cover of expecting.toReversed()) {
    const { next, hash, renewal } = cover;
    const digest = digests.get(hash) ?? crypto.hash(hash, bytes);
    digests.set(hash, digest);
    const matches = next?.size === bytes.length && equalBytes(next.digest, digest);
    if (matches) cover.matched++;
    else cover.changed++;
    const shows = matches && renewal.standing && until <= (ends[hash] ?? Infinity);
    if (shows) cover.shown++;
    if (shows) until = Math.min(until, renewal.time ?? until);
    isSame &&= matches;
    advance(cover);
  }
  return isSame;
}

/** Counts what the list names before `path` as missing. */
function skipTo(cover: Cover, path: string | undefined, missing: Names): void {
  while (cover.next && (path === undefined || cover.next.path < path)) {
    cover.missing++;
    missing.add(cover.next.path);
    advance(cover);
  }
}

class Names {
  readonly #names = new Set<string>();

  add(name: string): void {
    if (this.#names.size < MAX_NAMED) this.#names.add(name);
  }

  get list(): readonly string[] {
    return [...this.#names];
  }
}

function coverOf({ renewal, matched, shown, changed, missing }: Cover): SegmentCover {
  const isShown = changed === 0 && matched > 0 && shown === matched;
  return { seq: renewal.record.seq, since: isShown ? renewal.time : undefined, matched, changed, missing };
}

function problemsOf({ name, covers, changed, missing }: RenewedSegment): readonly RenewalProblem[] {
  return covers.flatMap((cover): RenewalProblem[] => {
    const { seq } = cover;
    const found: RenewalProblem[] = [];
    if (cover.changed > 0) {
      const detail = `${cover.changed} files of ${name} are not as they were: ${changed.slice(0, 3).join(', ')}`;
      found.push({ code: 'FILES_CHANGED', seq, detail });
    }
    if (cover.missing > 0) {
      const detail = `${cover.missing} files of ${name} are not there: ${missing.slice(0, 3).join(', ')}`;
      found.push({ code: 'FILES_MISSING', seq, detail });
    }
    return found;
  });
}
