import { ReleaseError } from './errors.ts';

/** Tags that CMS uses here (X.690 section 8.1.2). */
export const BER = {
  integer: 0x02,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  sequence: 0x30,
  set: 0x31,
  /** [0], primitive and constructed. */
  zeroPrimitive: 0x80,
  zero: 0xa0,
  one: 0xa1,
  octetStrings: 0x24,
} as const;

/** One element: its content where it is primitive, else the elements in it. */
export interface BerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly children: readonly BerElement[];
}

const CONSTRUCTED = 0x20;
const END_OF_CONTENTS = 0;
const INDEFINITE = 0x80;
/** An enveloped key has some sixteen levels when every length is indefinite, and some forty elements. */
const MAX_DEPTH = 24;
const MAX_ELEMENTS = 256;

interface Reading {
  readonly bytes: Uint8Array;
  offset: number;
  elements: number;
}

/**
 * Reads one element of BER (X.690 section 8), which has lengths that DER has not: KMS answers with indefinite ones. Tags
 * above 30 and lengths of more than three bytes are refused; so is what follows the element.
 */
export function parseBer(bytes: Uint8Array): BerElement {
  const reading: Reading = { bytes, offset: 0, elements: 0 };
  const element = readElement(reading, bytes.length, 0);
  if (reading.offset !== bytes.length) throw malformed('bytes follow it');
  return element;
}

function readElement(reading: Reading, end: number, depth: number): BerElement {
  reading.elements += 1;
  if (depth > MAX_DEPTH || reading.elements > MAX_ELEMENTS) throw malformed('it has too many elements');
  const tag = readByte(reading, end);
  if ((tag & 0x1f) === 0x1f) throw malformed('a tag is above 30');
  const length = readLength(reading, end);
  if (length === undefined) {
    if ((tag & CONSTRUCTED) === 0) throw malformed('a primitive element has no length');
    return { tag, content: reading.bytes.subarray(0, 0), children: readOpen(reading, end, depth) };
  }
  const stop = reading.offset + length;
  if (stop > end) throw malformed('an element passes the end');
  const content = reading.bytes.subarray(reading.offset, stop);
  const children: BerElement[] = [];
  if ((tag & CONSTRUCTED) !== 0) {
    while (reading.offset < stop) children.push(readElement(reading, stop, depth + 1));
  }
  reading.offset = stop;
  return { tag, content, children };
}

/** Elements up to the end-of-contents octets (section 8.1.5). */
function readOpen(reading: Reading, end: number, depth: number): readonly BerElement[] {
  const children: BerElement[] = [];
  for (;;) {
    const [tag, length] = [reading.bytes[reading.offset], reading.bytes[reading.offset + 1]];
    if (reading.offset + 2 > end) throw malformed('it is cut short');
    if (tag === END_OF_CONTENTS && length === 0) {
      reading.offset += 2;
      return children;
    }
    children.push(readElement(reading, end, depth + 1));
  }
}

/** Undefined for the indefinite form. */
function readLength(reading: Reading, end: number): number | undefined {
  const first = readByte(reading, end);
  if (first < INDEFINITE) return first;
  if (first === INDEFINITE) return undefined;
  const count = first & 0x7f;
  if (count > 3) throw malformed('a length has more than three bytes');
  let length = 0;
  for (let i = 0; i < count; i++) length = length * 256 + readByte(reading, end);
  return length;
}

function readByte(reading: Reading, end: number): number {
  const byte = reading.offset < end ? reading.bytes[reading.offset] : undefined;
  if (byte === undefined) throw malformed('it is cut short');
  reading.offset += 1;
  return byte;
}

function malformed(why: string): ReleaseError {
  return new ReleaseError('BAD_ANSWER', `the CMS structure cannot be read: ${why}`);
}
