import { fromUtf8 } from '../bytes/bytes.ts';
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
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One DER element: its tag, its content and its whole encoding. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly encoded: Uint8Array;
}

/**
 * Reads the elements of one constructed content, one after the other (X.690 section 8.1 with the restrictions of
 * 10.1). Nothing is copied and nothing is kept, so a list of any length is read in one pass.
 */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  readonly #end: number;
  #offset: number;
  /** Where the content of the element at `#offset` begins and ends, once `#open` has read its header. */
  #contentStart = 0;
  #contentEnd = 0;

  /** `what` names the structure in refusals; `start` and `end` bound it within `bytes`. */
  constructor(bytes: Uint8Array, what: string, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#what = what;
    this.#offset = start;
    this.#end = end;
  }

  get done(): boolean {
    return this.#offset === this.#end;
  }

  /** The next element, which must have the tag where one is given. */
  take(tag?: number): DerElement {
    const start = this.#offset;
    const found = this.#open(tag);
    this.#offset = this.#contentEnd;
    return {
      tag: found,
      content: this.#bytes.subarray(this.#contentStart, this.#contentEnd),
      encoded: this.#bytes.subarray(start, this.#contentEnd),
    };
  }

  /** The next element if it has the tag. */
  optional(tag: number): DerElement | undefined {
    return this.has(tag) ? this.take(tag) : undefined;
  }

  /** Whether an element of the tag is next. */
  has(tag: number): boolean {
    return !this.done && this.#bytes[this.#offset] === tag;
  }

  /** A reader of the next element's content, which must have the tag. */
  enter(tag: number): DerReader {
    this.#open(tag);
    this.#offset = this.#contentEnd;
    return new DerReader(this.#bytes, this.#what, this.#contentStart, this.#contentEnd);
  }

  /** The same of the last element: nothing follows it. */
  enterLast(tag: number): DerReader {
    const content = this.enter(tag);
    this.end();
    return content;
  }

  /** Passes over the next element, which must have the tag where one is given. */
  skip(tag?: number): void {
    this.#open(tag);
    this.#offset = this.#contentEnd;
  }

  /** Refuses trailing bytes. */
  end(): void {
    if (!this.done) throw this.#malformed(`${this.#end - this.#offset} bytes follow the end`);
  }

  /** Reads tag and length of the next element and checks that its content is there. */
  #open(wanted: number | undefined): number {
    const tag = this.#octet(this.#offset);
    const first = this.#octet(this.#offset + 1);
    if (wanted !== undefined && tag !== wanted) throw this.#malformed(`tag ${tag} instead of ${wanted}`);
    // Tag numbers from 31 on take further bytes: none of our formats has them.
    if ((tag & 0x1f) === 0x1f) throw this.#malformed(`tag ${tag} begins a long form`);
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
    const length = first < 0x80 ? first : this.#longLength(lengthBytes);
    this.#contentStart = this.#offset + 2 + lengthBytes;
    this.#contentEnd = this.#contentStart + length;
    if (this.#contentEnd > this.#end) {
      throw this.#malformed(`${length} bytes of content, ${this.#end - this.#contentStart} left`);
    }
    return tag;
  }

  #longLength(count: number): number {
    if (count === 0 || count > 4) throw this.#malformed(`DER length of ${count} bytes`);
    let length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + this.#octet(this.#offset + 2 + i);
    if (length < 0x80 || length < 256 ** (count - 1)) throw this.#malformed('DER length is not the shortest');
    return length;
  }

  #octet(offset: number): number {
    const octet = this.#bytes[offset];
    if (octet === undefined || offset >= this.#end) throw this.#malformed('the bytes end within an element');
    return octet;
  }

  #malformed(detail: string): Refusal {
    return new Refusal('MALFORMED', `${this.#what}: ${detail}`);
  }
}

/** Reads one element from the front of `bytes`. */
export function readElement(bytes: Uint8Array, what: string): DerElement {
  return new DerReader(bytes, what).take();
}

/** Reads exactly one element of the tag and refuses trailing bytes. */
export function readOnly(bytes: Uint8Array, tag: number, what: string): DerElement {
  const reader = new DerReader(bytes, what);
  const element = reader.take(tag);
  reader.end();
  return element;
}

/** The elements inside constructed content, at most 1,024. */
export function readElements(content: Uint8Array, what: string): readonly DerElement[] {
  const elements: DerElement[] = [];
  const reader = new DerReader(content, what);
  while (!reader.done) {
    if (elements.length === 1024) throw new Refusal('MALFORMED', `${what}: too many elements`);
    elements.push(reader.take());
  }
  return elements;
}

/** Dotted text of an OBJECT IDENTIFIER's content (X.690 section 8.19). */
export function decodeOid(content: Uint8Array): string {
  let text = '';
  let value = 0;
  let begun = false;
  for (const byte of content) {
    // One arc in two encodings would be one identifier under two names.
    if (!begun && byte === 0x80) throw new Refusal('MALFORMED', 'OID arc is not the shortest');
    value = value * 128 + (byte & 0x7f);
    if (!Number.isSafeInteger(value)) throw new Refusal('MALFORMED', 'OID arc is too large');
    begun = byte >= 0x80;
    if (begun) continue;
    text += text === '' ? firstArcs(value) : `.${value}`;
    value = 0;
  }
  if (text === '' || begun) throw new Refusal('MALFORMED', 'OID is empty or cut short');
  return text;
}

/** The first two arcs share one number: 40 times the root, which is 0 to 2, plus the second. */
function firstArcs(value: number): string {
  const root = Math.min(Math.floor(value / 40), 2);
  return `${root}.${value - root * 40}`;
}

/** Content of an INTEGER: two's complement in the fewest bytes (X.690 section 8.3.2). */
export function decodeInteger({ tag, content }: DerElement, what: string): Uint8Array {
  const first = content[0];
  const second = content[1];
  if (tag !== TAG.integer || first === undefined) throw new Refusal('MALFORMED', `${what} is no INTEGER`);
  if (second !== undefined && (first === 0 ? second < 0x80 : first === 0xff && second >= 0x80)) {
    throw new Refusal('MALFORMED', `${what} is an INTEGER with needless leading bits`);
  }
  return content;
}

/** Content of a non-negative INTEGER without its sign byte: a number of bytes with the highest first, none for zero. */
export function decodeUnsigned(element: DerElement, what: string): Uint8Array {
  const content = decodeInteger(element, what);
  const [first = 0x80] = content;
  if (first >= 0x80) throw new Refusal('MALFORMED', `${what} is no non-negative INTEGER`);
  return first === 0 ? content.subarray(1) : content;
}

/** A non-negative INTEGER below 2^53. */
export function decodeUint(element: DerElement, what: string): number {
  const content = decodeInteger(element, what);
  if (content.length > 7 || (content[0] ?? 0x80) >= 0x80) {
    throw new Refusal('MALFORMED', `${what} is no small non-negative INTEGER`);
  }
  let value = 0;
  for (const byte of content) value = value * 256 + byte;
  return value;
}

/** A BOOLEAN: one byte, 0x00 or 0xff (X.690 section 11.1). */
export function decodeBoolean({ tag, content }: DerElement, what: string): boolean {
  const byte = content[0];
  if (tag !== TAG.boolean || content.length !== 1 || (byte !== 0 && byte !== 0xff)) {
    throw new Refusal('MALFORMED', `${what} is no BOOLEAN`);
  }
  return byte === 0xff;
}

/** The bytes of a BIT STRING of whole bytes. */
export function decodeBitString({ tag, content }: DerElement, what: string): Uint8Array {
  if (tag !== TAG.bitString || content[0] !== 0) {
    throw new Refusal('MALFORMED', `${what} is no BIT STRING of whole bytes`);
  }
  return content.subarray(1);
}

/** Text of an IA5String or UTF8String. */
export function decodeString(element: DerElement, what: string): string {
  if (element.tag !== TAG.ia5String && element.tag !== TAG.utf8String) {
    throw new Refusal('MALFORMED', `${what} is no IA5String or UTF8String`);
  }
  return fromUtf8(element.content);
}
