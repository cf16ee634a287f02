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
 * Walks one CBOR item (RFC 8949 section 3) without building it: every length is checked against what is left,
 * nesting and size are bounded, text is UTF-8, no map has a key twice, and nothing follows. Run before `cbor-x`
 * decodes, which checks none of these.
 */
export function scanItem(bytes: Uint8Array, limits: ScanLimits = DEFAULT_LIMITS): void {
  if (bytes.length > limits.maxBytes) {
    throw new Refusal('MALFORMED', `CBOR of ${bytes.length} bytes exceeds ${limits.maxBytes}`);
  }
  const scanner: Scanner = { bytes, reader: new ByteReader(bytes, 'CBOR') };
  scanNext(scanner, limits.maxDepth, false);
  scanner.reader.end();
}

interface Scanner {
  readonly bytes: Uint8Array;
  readonly reader: ByteReader;
}

const BREAK = 0xff;

/** Returns true when the byte was the `break` that ends an indefinite item. */
function scanNext(scanner: Scanner, depth: number, breakAllowed: boolean): boolean {
  const { reader } = scanner;
  if (depth < 0) throw new Refusal('MALFORMED', 'CBOR is nested too deeply');
  const initial = reader.u8();
  if (initial === BREAK) {
    if (!breakAllowed) throw new Refusal('MALFORMED', 'CBOR has a break outside an indefinite item');
    return true;
  }
  const major = initial >> 5;
  const info = initial & 0x1f;
  if (info === 31) scanIndefinite(scanner, major, depth);
  else scanDefinite(scanner, major, info, depth);
  return false;
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
      scanNext(scanner, depth - 1, false);
      return;
    case 7:
      if (info === 24 && argument < 32)
        throw new Refusal('MALFORMED', 'CBOR simple value is not well-formed');
      return;
    default:
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
  const keys = new Set<string>();
  for (let i = 0; i < count; i++) {
    scanKey(scanner, depth, keys, false);
    scanNext(scanner, depth - 1, false);
  }
}

function countTooLarge(): Refusal {
  return new Refusal('MALFORMED', 'CBOR counts more items than bytes are left');
}

/** Scans a map key and refuses one that the map already has. Returns true at the `break`. */
function scanKey(scanner: Scanner, depth: number, keys: Set<string>, breakAllowed: boolean): boolean {
  const start = scanner.reader.offset;
  if (scanNext(scanner, depth - 1, breakAllowed)) return true;
  const key = keyIdentity(scanner.bytes.subarray(start, scanner.reader.offset));
  if (keys.has(key)) throw new Refusal('MALFORMED', 'CBOR map has a key twice');
  keys.add(key);
  return false;
}

/** Equal for keys of equal value: integers and definite strings are taken without the form of their head. */
function keyIdentity(encoded: Uint8Array): string {
  const reader = new ByteReader(encoded, 'CBOR key');
  const initial = reader.u8();
  const major = initial >> 5;
  const info = initial & 0x1f;
  if (major > 3 || info === 31) return toHex(encoded);
  const argument = readArgument(reader, info);
  return `${major}:${argument}:${toHex(reader.take(reader.remaining))}`;
}

function scanIndefinite(scanner: Scanner, major: number, depth: number): void {
  if (major === 2 || major === 3) scanChunks(scanner, major);
  else if (major === 4) while (!scanNext(scanner, depth - 1, true));
  else if (major === 5) {
    const keys = new Set<string>();
    while (!scanKey(scanner, depth, keys, true)) scanNext(scanner, depth - 1, false);
  } else throw new Refusal('MALFORMED', 'CBOR item cannot be of indefinite length');
}

function scanChunks(scanner: Scanner, major: number): void {
  for (;;) {
    const initial = scanner.reader.u8();
    if (initial === BREAK) return;
    if (initial >> 5 !== major || (initial & 0x1f) === 31) {
      throw new Refusal('MALFORMED', 'CBOR string has a chunk of another kind');
    }
    scanDefinite(scanner, major, initial & 0x1f, 0);
  }
}
