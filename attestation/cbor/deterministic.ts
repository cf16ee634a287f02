import { Decoder, type Options } from 'cbor-x/decode';
import { compareBytes, concat, equalBytes, toHex, utf8 } from '../bytes/bytes.ts';
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
  const parts: Uint8Array[] = [];
  write(value, parts);
  return concat(...parts);
}

const FALSE = Uint8Array.of(0xf4);
const TRUE = Uint8Array.of(0xf5);

function write(value: Dc, parts: Uint8Array[]): void {
  if (typeof value === 'number') parts.push(encodeInteger(value));
  else if (typeof value === 'string') writeString(3, utf8(value), parts);
  else if (typeof value === 'boolean') parts.push(value ? TRUE : FALSE);
  else if (value instanceof Uint8Array) writeString(2, value, parts);
  else if (isArray(value)) {
    parts.push(encodeHead(4, value.length));
    for (const item of value) write(item, parts);
  } else if (value instanceof Map) writeMap(value as DcMap, parts);
  else throw new TypeError('not a value of deterministic CBOR');
}

function isArray(value: Dc): value is readonly Dc[] {
  return Array.isArray(value);
}

function writeString(major: number, bytes: Uint8Array, parts: Uint8Array[]): void {
  parts.push(encodeHead(major, bytes.length), bytes);
}

function writeMap(map: DcMap, parts: Uint8Array[]): void {
  const entries = [...map].map(([key, value]) => ({ key: encodeDc(key), value }));
  entries.sort((a, b) => compareBytes(a.key, b.key));
  parts.push(encodeHead(5, entries.length));
  for (const { key, value } of entries) {
    parts.push(key);
    write(value, parts);
  }
}

function encodeInteger(value: number): Uint8Array {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
    throw new TypeError(`${value} is no integer within ±(2^53-1)`);
  }
  return value >= 0 ? encodeHead(0, value) : encodeHead(1, -1 - value);
}

/** The shortest head of RFC 8949 section 3: major type and argument. */
export function encodeHead(major: number, argument: number): Uint8Array {
  const type = major << 5;
  if (argument < 24) return Uint8Array.of(type | argument);
  if (argument < 0x100) return Uint8Array.of(type | 24, argument);
  if (argument < 0x10000) return Uint8Array.of(type | 25, argument >> 8, argument & 0xff);
  const head = new Uint8Array(argument < 0x1_0000_0000 ? 5 : 9);
  const view = new DataView(head.buffer);
  if (head.length === 5) {
    head[0] = type | 26;
    view.setUint32(1, argument);
  } else {
    head[0] = type | 27;
    view.setBigUint64(1, BigInt(argument));
  }
  return head;
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
  scanItem(bytes, limits);
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
