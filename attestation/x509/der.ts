import { fromUtf8 } from '../bytes/bytes.ts';
import { ByteReader } from '../bytes/reader.ts';
import { Refusal } from '../errors.ts';

/** Tags of X.690 that our formats use. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  ia5String: 0x16,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One DER element: its tag, its content and its whole encoding. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly encoded: Uint8Array;
}

/** Reads one element from the front of `bytes` (X.690 section 8.1 with the restrictions of 10.1). */
export function readElement(bytes: Uint8Array, what: string): DerElement {
  const reader = new ByteReader(bytes, what);
  const tag = reader.u8();
  const length = readLength(reader, what);
  const content = reader.take(length);
  return { tag, content, encoded: bytes.subarray(0, reader.offset) };
}

/** Reads exactly one element of the tag and refuses trailing bytes. */
export function readOnly(bytes: Uint8Array, tag: number, what: string): DerElement {
  const element = readElement(bytes, what);
  if (element.tag !== tag) throw new Refusal('MALFORMED', `${what}: tag ${element.tag} instead of ${tag}`);
  if (element.encoded.length !== bytes.length) {
    throw new Refusal('MALFORMED', `${what}: ${bytes.length - element.encoded.length} bytes follow the end`);
  }
  return element;
}

/** The elements inside constructed content, at most 1,024. */
export function readElements(content: Uint8Array, what: string): readonly DerElement[] {
  const elements: DerElement[] = [];
  let rest = content;
  while (rest.length > 0) {
    if (elements.length === 1024) throw new Refusal('MALFORMED', `${what}: too many elements`);
    const element = readElement(rest, what);
    elements.push(element);
    rest = rest.subarray(element.encoded.length);
  }
  return elements;
}

function readLength(reader: ByteReader, what: string): number {
  const first = reader.u8();
  if (first < 0x80) return first;
  const count = first & 0x7f;
  if (count === 0 || count > 4) throw new Refusal('MALFORMED', `${what}: DER length of ${count} bytes`);
  let length = 0;
  for (const byte of reader.take(count)) length = length * 256 + byte;
  if (length < 0x80 || length < 256 ** (count - 1)) {
    throw new Refusal('MALFORMED', `${what}: DER length is not the shortest`);
  }
  return length;
}

/** Dotted text of an OBJECT IDENTIFIER's content. */
export function decodeOid(content: Uint8Array): string {
  const arcs: number[] = [];
  let value = 0;
  for (const byte of content) {
    value = value * 128 + (byte & 0x7f);
    if (!Number.isSafeInteger(value)) throw new Refusal('MALFORMED', 'OID arc is too large');
    if ((byte & 0x80) === 0) {
      arcs.push(value);
      value = 0;
    }
  }
  const first = arcs.shift();
  if (first === undefined || ((content.at(-1) ?? 0) & 0x80) !== 0) {
    throw new Refusal('MALFORMED', 'OID is empty or cut short');
  }
  const root = Math.min(Math.floor(first / 40), 2);
  return [root, first - root * 40, ...arcs].join('.');
}

/** A non-negative INTEGER below 2^53. */
export function decodeUint(element: DerElement, what: string): number {
  const { tag, content } = element;
  const negative = ((content[0] ?? 0x80) & 0x80) !== 0;
  if (tag !== TAG.integer || content.length === 0 || content.length > 7 || negative) {
    throw new Refusal('MALFORMED', `${what} is no small non-negative INTEGER`);
  }
  return content.reduce((value, byte) => value * 256 + byte, 0);
}

/** Text of an IA5String or UTF8String. */
export function decodeString(element: DerElement, what: string): string {
  if (element.tag !== TAG.ia5String && element.tag !== TAG.utf8String) {
    throw new Refusal('MALFORMED', `${what} is no IA5String or UTF8String`);
  }
  return fromUtf8(element.content);
}
