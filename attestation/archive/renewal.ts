import { decodeDc, encodeDc, type Dc } from '../cbor/deterministic.ts';
import { asArray, asBytes, asCount, asFixedBytes, asLabel, asText, asTuple } from '../cbor/shape.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { Frontier } from '../log/frontier.ts';
import { leafHash } from '../log/merkle.ts';

const LABEL = 'vouchsafe/renewal/1';
/** Hashes of renewals with their lengths in bytes. None is that of the logs, which they outlive. */
export const RENEWAL_HASHES = { sha384: 48, sha512: 64 } as const;
export type RenewalHash = keyof typeof RENEWAL_HASHES;
export const DEFAULT_RENEWAL_HASH: RenewalHash = 'sha512';

/** Name of the segment that holds former records, their file lists and their timestamps. */
export const RENEWALS = 'renewals';
const SEGMENT = /^(?:[0-9a-f]{32}|renewals)$/;
/** Instances of one archive; five items of CBOR each. */
const MAX_SEGMENTS = 8192;
const MAX_BYTES = 4 * 1024 * 1024;
/** Longest path below a segment's folder. */
export const MAX_PATH_LENGTH = 200;
/** Of parts that begin with a letter or digit: none leads out of its folder. */
const PATH = /^(?:[A-Za-z0-9][A-Za-z0-9._-]*\/)*[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** One file as a renewal covers it. */
export interface FileEntry {
  /** Below the segment's folder. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Under the renewal's hash, over the file's bytes. */
  readonly digest: Uint8Array;
}

/** The files of one instance, or of the former renewals, as one tree. */
export interface Segment {
  /** Instance, 32 hex digits, or `renewals`. */
  readonly name: string;
  /** RFC 9162 tree under the renewal's hash; leaf `i` is `dc([path, size, digest])` of file `i` in code-unit order. */
  readonly root: Uint8Array;
  readonly count: number;
  /** Of all its files. */
  readonly bytes: number;
}

/**
 * Hash-tree renewal (RFC 4998 section 5.3): the data itself is hashed again, before the former hash is broken.
 * Without an instance it renews the timestamps alone (section 5.2).
 */
export interface RenewalRecord {
  readonly hash: RenewalHash;
  /** Position in the line of renewals, from 0. */
  readonly seq: number;
  /** Digest of record `seq - 1` under this record's hash; undefined at 0. */
  readonly previous: Uint8Array | undefined;
  /** Sorted by name. */
  readonly segments: readonly Segment[];
  /** Seconds since 1970, by the clock of whoever made it: a claim. Timestamps say when it existed. */
  readonly madeAt: number;
}

/** `dc([label, hash, seq, previous or h'', [[name, root, count, bytes], ...], made_at])`: what timestamps are over. */
export function encodeRenewal({ hash, seq, previous, segments, madeAt }: RenewalRecord): Uint8Array {
  const list = segments.map(({ name, root, count, bytes }): Dc => [name, root, count, bytes]);
  return encodeDc([LABEL, hash, seq, previous ?? new Uint8Array(0), list, madeAt]);
}

/** Parses a record: closed and canonical, segments sorted and once. Its timestamps stand beside it. */
export function parseRenewal(encoded: Uint8Array): RenewalRecord {
  const decoded = decodeDc(encoded, { maxDepth: 4, maxBytes: MAX_BYTES });
  const [label, name, seq, previous, list, madeAt] = asTuple(decoded, 'renewal', 6);
  asLabel(label, 'renewal label', LABEL);
  const hash = asRenewalHash(name);
  const segments = asArray(list, 'segments');
  if (segments.length > MAX_SEGMENTS) throw new Refusal('MALFORMED', `more than ${MAX_SEGMENTS} segments`);
  const record = {
    hash,
    seq: asCount(seq, 'renewal seq'),
    previous: optionalDigest(previous, hash),
    segments: segments.map((segment) => parseSegment(segment, hash)),
    madeAt: asCount(madeAt, 'renewal made_at'),
  };
  if ((record.seq === 0) !== (record.previous === undefined)) {
    throw new Refusal('MALFORMED', 'seq and previous of the renewal contradict each other');
  }
  record.segments.forEach(({ name: own }, i) => {
    if (own <= (record.segments[i - 1]?.name ?? '')) {
      throw new Refusal('MALFORMED', 'segments are not sorted and once');
    }
  });
  return record;
}

function asRenewalHash(value: Dc | undefined): RenewalHash {
  const name = asText(value, 'renewal hash');
  if (Object.hasOwn(RENEWAL_HASHES, name)) return name as RenewalHash;
  throw new Refusal('UNSUPPORTED', `renewals by ${name} are not known`);
}

function optionalDigest(value: Dc | undefined, hash: RenewalHash): Uint8Array | undefined {
  const bytes = asBytes(value, 'previous renewal');
  return bytes.length === 0 ? undefined : asFixedBytes(bytes, 'previous renewal', RENEWAL_HASHES[hash]);
}

function parseSegment(value: Dc, hash: RenewalHash): Segment {
  const [name, root, count, bytes] = asTuple(value, 'segment', 4);
  const segment = asText(name, 'segment name');
  if (!SEGMENT.test(segment))
    throw new Refusal('MALFORMED', 'a segment is neither an instance nor `renewals`');
  return {
    name: segment,
    root: asFixedBytes(root, 'segment root', RENEWAL_HASHES[hash]),
    count: asCount(count, 'segment count'),
    bytes: asCount(bytes, 'segment bytes'),
  };
}

/** Whether the renewal hashed data, and not only its own former timestamps. */
export function isHashTreeRenewal({ segments }: Pick<RenewalRecord, 'segments'>): boolean {
  return segments.some(({ name }) => name !== RENEWALS);
}

/** Whether a path may stand in a list of files. */
export function isFilePath(path: string): boolean {
  return path.length <= MAX_PATH_LENGTH && PATH.test(path);
}

/** The tree of one segment, grown file by file in the order of paths, in O(log n) memory. */
export class SegmentTree {
  readonly #frontier: Frontier;
  readonly #hash: (bytes: Uint8Array) => Uint8Array;
  #last = '';
  #bytes = 0;

  constructor(hash: RenewalHash, crypto: CryptoProvider) {
    this.#hash = (bytes) => crypto.hash(hash, bytes);
    this.#frontier = new Frontier(this.#hash);
  }

  /** Path of the file that was added last; empty before the first. */
  get last(): string {
    return this.#last;
  }

  /** Refuses files that are not in code-unit order: each set of files has one root. */
  add({ path, size, digest }: FileEntry): void {
    if (path <= this.#last || !isFilePath(path)) {
      throw new Refusal('MALFORMED', `the file ${path.slice(0, MAX_PATH_LENGTH)} is out of order or no path`);
    }
    this.#last = path;
    this.#bytes += size;
    this.#frontier.append(leafHash(this.#hash, encodeDc([path, size, digest])));
  }

  segment(name: string): Segment {
    return { name, root: this.#frontier.root(), count: this.#frontier.size, bytes: this.#bytes };
  }
}
