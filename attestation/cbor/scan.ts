import { fromUtf8, toHex } from '../bytes/bytes.ts';
import { ByteReader } from '../bytes/reader.ts';
import { Refusal } from '../errors.ts';

/** Bounds of one CBOR item that an attacker may have written. */
export interface ScanLimits {
  /** Largest nesting of arrays, maps and tags. */
  readonly maxDepth: number;
  /** Largest encoding, in bytes. */
  readonly maxBytes: number;
}

export const DEFAULT_LIMITS: ScanLimits = { maxDepth: 16, maxBytes: 64 * 1024 * 1024 };

/**
 * Most items, map keys included, of one encoding: ours have a few thousand. A decoder makes a value of many bytes of
 * an item of one, so that size alone would not bound what it allocates.
 */
const MAX_ITEMS = 65_536;
/** Longest map key: ours are names and numbers. */
const MAX_KEY_BYTES = 1024;

/**
 * Tags that foreign items may have: those of RFC 8949 and COSE that the decoder leaves alone or reads as a number or
 * a date. It acts on others: a shared value (28, 29) can hold itself, a record definition outlives its document.
 */
const FOREIGN_TAGS: ReadonlySet<number> = new Set([
  0, 1, 2, 3, 16, 17, 18, 21, 22, 23, 24, 32, 33, 34, 36, 61, 96, 97, 98,
]);
const BIGNUM_TAGS: readonly number[] = [2, 3];
/** The decoder's work on a bignum is square in its length. */
const MAX_BIGNUM_BYTES = 1024;

/** `deterministic` refuses what `dc` cannot carry before a decoder sees it. */
export type Dialect = 'deterministic' | 'foreign';

/**
 * Walks one CBOR item (RFC 8949 section 3) without building it: every length is checked against what is left,
 * nesting, size and count are bounded, text is UTF-8, no map has a key twice, tags are known, and nothing follows. Run
 * before `cbor-x` decodes, which checks none of these.
 */
export function scanItem(
  bytes: Uint8Array,
  limits: ScanLimits = DEFAULT_LIMITS,
  dialect: Dialect = 'foreign',
): void {
  if (bytes.length > limits.maxBytes) {
    throw new Refusal('MALFORMED', `CBOR of ${bytes.length} bytes exceeds ${limits.maxBytes}`);
  }
  const scanner: Scanner = { bytes, reader: new ByteReader(bytes, 'CBOR'), dialect, items: 0 };
  scanNext(scanner, limits.maxDepth, false);
  scanner.reader.end();
}

interface Scanner {
  readonly bytes: Uint8Array;
  readonly reader: ByteReader;
  readonly dialect: Dialect;
  items: number;
}

const BREAK = 0xff;

/** Returns true when the byte was the `break` that ends an indefinite item. */
function scanNext(scanner: Scanner, depth: number, breakAllowed: boolean): boolean {
  const { reader } = scanner;
  if (depth < 0) throw new Refusal('MALFORMED', 'CBOR is nested too deeply');
  countItem(scanner);
  const initial = reader.u8();
  if (initial === BREAK) {
    if (!breakAllowed) throw new Refusal('MALFORMED', 'CBOR has a break outside an indefinite item');
    return true;
  }
  const major = initial >> 5;
  const info = initial & 0x1f;
  checkDialect(scanner, major, info);
  if (info === 31) scanIndefinite(scanner, major, depth);
  else scanDefinite(scanner, major, info, depth);
  return false;
}

function countItem(scanner: Scanner): void {
  if (++scanner.items > MAX_ITEMS) throw new Refusal('MALFORMED', `CBOR has more than ${MAX_ITEMS} items`);
}

/** Additional information of major type 7: null, undefined and the floats of RFC 8949 section 3.3. */
const OUTSIDE_DC: readonly number[] = [22, 23, 25, 26, 27];
const FALSE = 20;
const TRUE = 21;

function checkDialect({ dialect }: Scanner, major: number, info: number): void {
  if (dialect === 'foreign') return;
  if (major === 6 || info === 31 || (major === 7 && OUTSIDE_DC.includes(info))) {
    throw new Refusal('NOT_CANONICAL', 'CBOR holds a float, null, tag or indefinite length');
  }
  if (major === 7 && info !== FALSE && info !== TRUE) {
    throw new Refusal('MALFORMED', `CBOR simple value ${info} has no meaning`);
  }
}

function scanDefinite(scanner: Scanner, major: number, info: number, depth: number): void {
  const { reader } = scanner;
  const argument = readArgument(reader, info);
  switch (major) {
    case 2:
      reader.take(argument);
      return;
    case 3:
      fromUtf8(reader.take(argument));
      return;
    case 4:
      scanArray(scanner, argument, depth);
      return;
    case 5:
      scanMap(scanner, argument, depth);
      return;
    case 6:
      scanTagged(scanner, argument, depth);
      return;
    case 7:
      if (info === 24 && argument < 32)
        throw new Refusal('MALFORMED', 'CBOR simple value is not well-formed');
      return;
    default:
  }
}

function scanTagged(scanner: Scanner, tag: number, depth: number): void {
  if (!FOREIGN_TAGS.has(tag)) throw new Refusal('UNSUPPORTED', `CBOR tag ${tag} is not known`);
  const start = scanner.reader.offset;
  scanNext(scanner, depth - 1, false);
  if (BIGNUM_TAGS.includes(tag) && scanner.reader.offset - start > MAX_BIGNUM_BYTES) {
    throw new Refusal('MALFORMED', `CBOR has a bignum of more than ${MAX_BIGNUM_BYTES} bytes`);
  }
}

/** The argument of RFC 8949 section 3; beyond 2^53-1 only integers may go, and those are not lengths. */
function readArgument(reader: ByteReader, info: number): number {
  if (info < 24) return info;
  if (info === 24) return reader.u8();
  if (info === 25) return reader.u16be();
  if (info === 26) return reader.u32be();
  if (info === 27) return Number(reader.u64be());
  throw new Refusal('MALFORMED', `CBOR additional information ${info} is reserved`);
}

function scanArray(scanner: Scanner, count: number, depth: number): void {
  // Each item takes at least one byte: a larger count cannot be true.
  if (count > scanner.reader.remaining) throw countTooLarge();
  for (let i = 0; i < count; i++) scanNext(scanner, depth - 1, false);
}

function scanMap(scanner: Scanner, count: number, depth: number): void {
  if (count * 2 > scanner.reader.remaining) throw countTooLarge();
  const keys = new Set<number | string>();
  for (let i = 0; i < count; i++) {
    scanKey(scanner, depth, keys, false);
    scanNext(scanner, depth - 1, false);
  }
}

function countTooLarge(): Refusal {
  return new Refusal('MALFORMED', 'CBOR counts more items than bytes are left');
}

/** Scans a map key and refuses one that the map already has. Returns true at the `break`. */
function scanKey(
  scanner: Scanner,
  depth: number,
  keys: Set<number | string>,
  breakAllowed: boolean,
): boolean {
  const start = scanner.reader.offset;
  if (scanNext(scanner, depth - 1, breakAllowed)) return true;
  const encoded = scanner.bytes.subarray(start, scanner.reader.offset);
  if (encoded.length > MAX_KEY_BYTES) throw new Refusal('MALFORMED', 'CBOR map has a key that is too long');
  const key = keyIdentity(encoded);
  if (keys.has(key)) throw new Refusal('MALFORMED', 'CBOR map has a key twice');
  keys.add(key);
  return false;
}

/** Equal for keys of equal value: integers and definite strings are taken without the form of their head. */
function keyIdentity(encoded: Uint8Array): number | string {
  const reader = new ByteReader(encoded, 'CBOR key');
  const initial = reader.u8();
  const major = initial >> 5;
  const info = initial & 0x1f;
  if (major > 3 || info === 31) return toHex(encoded);
  const argument = readArgument(reader, info);
  if (major === 0) return argument;
  if (major === 1) return -1 - argument;
  return `${major}:${argument}:${toHex(reader.take(reader.remaining))}`;
}

function scanIndefinite(scanner: Scanner, major: number, depth: number): void {
  if (major === 2 || major === 3) scanChunks(scanner, major);
  else if (major === 4) while (!scanNext(scanner, depth - 1, true));
  else if (major === 5) {
    const keys = new Set<number | string>();
    while (!scanKey(scanner, depth, keys, true)) scanNext(scanner, depth - 1, false);
  } else throw new Refusal('MALFORMED', 'CBOR item cannot be of indefinite length');
}

function scanChunks(scanner: Scanner, major: number): void {
  for (;;) {
    countItem(scanner);
    const initial = scanner.reader.u8();
    if (initial === BREAK) return;
    if (initial >> 5 !== major || (initial & 0x1f) === 31) {
      throw new Refusal('MALFORMED', 'CBOR string has a chunk of another kind');
    }
    scanDefinite(scanner, major, initial & 0x1f, 0);
  }
}
