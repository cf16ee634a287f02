import { Decoder, type Options } from 'cbor-x/decode';
import { compareBytes, equalBytes, toHex, utf8 } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import { DEFAULT_LIMITS, scanItem, type ScanLimits } from './scan.ts';

/**
 * What `dc` carries: RFC 8949 section 4.2.1 with no floats, no null, no tags and integers within ±(2^53-1).
 * Map keys are integers or text. Encoded things nest as byte strings.
 */
export type Dc = number | string | boolean | Uint8Array | readonly Dc[] | DcMap;
export type DcMap = ReadonlyMap<number | string, Dc>;

/** Deterministic encoding. Throws `TypeError` for what `Dc` cannot carry: that is misuse, not bad input. */
export function encodeDc(value: Dc): Uint8Array {
  SCRATCH.clear();
  write(value, SCRATCH);
  return SCRATCH.copy();
}

/** One growing buffer for all encodings, which are synchronous: every receipt is encoded in the path of its answer. */
class Writer {
  #bytes = new Uint8Array(4096);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  clear(): void {
    this.#length = 0;
  }

  /** What was written, as bytes of its own. */
  copy(): Uint8Array {
    const copy = this.#bytes.slice(0, this.#length);
    if (this.#bytes.length > MAX_SCRATCH_BYTES) this.#resize(4096);
    return copy;
  }

  /** The shortest head of RFC 8949 section 3: major type and argument. */
  head(major: number, argument: number): void {
    this.#reserve(9);
    const type = major << 5;
    if (argument < 24) this.#bytes[this.#length++] = type | argument;
    else if (argument < 0x100) {
      this.#bytes[this.#length++] = type | 24;
      this.#bytes[this.#length++] = argument;
    } else if (argument < 0x10000) {
      this.#bytes[this.#length++] = type | 25;
      this.#view.setUint16(this.#advance(2), argument);
    } else if (argument < 0x1_0000_0000) {
      this.#bytes[this.#length++] = type | 26;
      this.#view.setUint32(this.#advance(4), argument);
    } else {
      this.#bytes[this.#length++] = type | 27;
      this.#view.setBigUint64(this.#advance(8), BigInt(argument));
    }
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#advance(value.length));
  }

  /** Text of ASCII alone, which most of ours is; false where it is not, and nothing counts as written. */
  ascii(text: string): boolean {
    this.#reserve(text.length);
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return false;
      this.#bytes[this.#length + i] = code;
    }
    this.#length += text.length;
    return true;
  }

  /** Takes back what was written after `length`. */
  truncate(length: number): void {
    this.#length = length;
  }

  get length(): number {
    return this.#length;
  }

  #advance(length: number): number {
    const start = this.#length;
    this.#length += length;
    return start;
  }

  #reserve(length: number): void {
    const needed = this.#length + length;
    if (needed > this.#bytes.length) this.#resize(Math.max(needed, 2 * this.#bytes.length));
  }

  #resize(capacity: number): void {
    const resized = new Uint8Array(capacity);
    resized.set(this.#bytes.subarray(0, Math.min(this.#length, capacity)));
    this.#bytes = resized;
    this.#view = new DataView(resized.buffer);
  }
}

/** A larger scratch buffer, after a large document, is given back. */
const MAX_SCRATCH_BYTES = 1024 * 1024;
const SCRATCH = new Writer();

const MAJOR = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5 } as const;
const FALSE = 0xf4;
const TRUE = 0xf5;

function write(value: Dc, writer: Writer): void {
  if (typeof value === 'number') writeInteger(value, writer);
  else if (typeof value === 'string') writeText(value, writer);
  else if (typeof value === 'boolean') writer.byte(value ? TRUE : FALSE);
  else if (value instanceof Uint8Array) writeBytes(MAJOR.bytes, value, writer);
  else if (isArray(value)) {
    writer.head(MAJOR.array, value.length);
    for (const item of value) write(item, writer);
  } else if (value instanceof Map) writeMap(value as DcMap, writer);
  else throw new TypeError('not a value of deterministic CBOR');
}

function isArray(value: Dc): value is readonly Dc[] {
  return Array.isArray(value);
}

function writeText(text: string, writer: Writer): void {
  const start = writer.length;
  writer.head(MAJOR.text, text.length);
  if (writer.ascii(text)) return;
  writer.truncate(start);
  writeBytes(MAJOR.text, utf8(text), writer);
}

function writeBytes(major: number, bytes: Uint8Array, writer: Writer): void {
  writer.head(major, bytes.length);
  writer.bytes(bytes);
}

function writeMap(map: DcMap, writer: Writer): void {
  writer.head(MAJOR.map, map.size);
  for (const [key, value] of [...map].sort(([a], [b]) => compareKeys(a, b))) {
    write(key, writer);
    write(value, writer);
  }
}

/** Bytewise order of the encodings: unsigned, then negative by magnitude, then text by length and bytes. */
function compareKeys(a: number | string, b: number | string): number {
  if (typeof a === 'number' && typeof b === 'number') {
    if (a < 0 === b < 0) return a < 0 ? b - a : a - b;
    return a < 0 ? 1 : -1;
  }
  if (typeof a === 'number') return -1;
  if (typeof b === 'number') return 1;
  const [left, right] = [utf8(a), utf8(b)];
  return left.length - right.length || compareBytes(left, right);
}

function writeInteger(value: number, writer: Writer): void {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
    throw new TypeError(`${value} is no integer within ±(2^53-1)`);
  }
  if (value >= 0) writer.head(MAJOR.unsigned, value);
  else writer.head(MAJOR.negative, -1 - value);
}

// `int64AsNumber` is missing from the declared options of cbor-x 1.6.
const options: Options & { int64AsNumber: boolean } = {
  useRecords: false,
  mapsAsObjects: false,
  int64AsNumber: true,
};
const decoder = new Decoder(options);

/**
 * Decodes one deterministic item: what does not re-encode to itself is refused as `NOT_CANONICAL`, so an attacker
 * cannot give one meaning two encodings, nor one map two values for a key.
 */
export function decodeDc(bytes: Uint8Array, limits: ScanLimits = DEFAULT_LIMITS): Dc {
  scanItem(bytes, limits, 'deterministic');
  const value = toDc(decodeItem(bytes));
  if (!equalBytes(encodeDc(value), bytes)) {
    throw new Refusal('NOT_CANONICAL', `not deterministic CBOR: ${toHex(bytes.subarray(0, 16))}…`);
  }
  return value;
}

function decodeItem(bytes: Uint8Array): unknown {
  try {
    return decoder.decode(bytes);
  } catch (error) {
    throw new Refusal('MALFORMED', `CBOR: ${error instanceof Error ? error.message : 'cannot be decoded'}`);
  }
}

/** Narrows what `cbor-x` returned to `Dc`; floats, null, tags and large integers are refused. */
function toDc(value: unknown): Dc {
  if (typeof value === 'number') return toInteger(value);
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  // cbor-x returns Buffer on Node: give every runtime the same plain view.
  if (value instanceof Uint8Array) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return value.map(toDc);
  if (value instanceof Map) return toMap(value);
  throw new Refusal('NOT_CANONICAL', 'CBOR holds a float, null, tag or large integer');
}

function toInteger(value: number): number {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
    throw new Refusal('NOT_CANONICAL', 'CBOR holds a number that is no integer within ±(2^53-1)');
  }
  return value;
}

function toMap(map: ReadonlyMap<unknown, unknown>): DcMap {
  const result = new Map<number | string, Dc>();
  for (const [key, value] of map) {
    if (typeof key === 'number') result.set(toInteger(key), toDc(value));
    else if (typeof key === 'string') result.set(key, toDc(value));
    else throw new Refusal('NOT_CANONICAL', 'CBOR map key is neither integer nor text');
  }
  return result;
}
