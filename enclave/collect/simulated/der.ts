import { concat, utf8 } from '../../../attestation/bytes/bytes.ts';
import { TAG } from '../../../attestation/x509/der.ts';

/** Writes the DER (X.690) that simulated certificates need. Reading is `attestation/x509/der.ts`. */
export function element(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = concat(...contents);
  return concat(Uint8Array.of(tag, ...lengthOctets(content.length)), content);
}

/** Shortest form (X.690 section 10.1). */
function lengthOctets(length: number): readonly number[] {
  if (length < 0x80) return [length];
  return length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
}

export function sequence(...contents: readonly Uint8Array[]): Uint8Array {
  return element(TAG.sequence, ...contents);
}

/** Constructed context-specific tag, such as `[3]` before extensions. */
export function tagged(number: number, ...contents: readonly Uint8Array[]): Uint8Array {
  return element(0xa0 | number, ...contents);
}

/** A non-negative INTEGER of big-endian bytes. */
export function integer(magnitude: Uint8Array): Uint8Array {
  const first = magnitude.findIndex((byte) => byte !== 0);
  const shortest = first === -1 ? Uint8Array.of(0) : magnitude.subarray(first);
  const sign = (shortest[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : new Uint8Array(0);
  return element(TAG.integer, sign, shortest);
}

/** A non-negative INTEGER below 256. */
export function smallInteger(value: number): Uint8Array {
  return integer(Uint8Array.of(value));
}

export function oid(dotted: string): Uint8Array {
  const [root = 0, second = 0, ...arcs] = dotted.split('.').map(Number);
  return element(TAG.oid, Uint8Array.from([root * 40 + second, ...arcs].flatMap(base128)));
}

function base128(arc: number): readonly number[] {
  const digits = [arc & 0x7f];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) {
    digits.unshift(0x80 | (rest & 0x7f));
  }
  return digits;
}

export function octetString(content: Uint8Array): Uint8Array {
  return element(TAG.octetString, content);
}

export function bitString(content: Uint8Array, unusedBits = 0): Uint8Array {
  return element(TAG.bitString, Uint8Array.of(unusedBits), content);
}

export function utf8String(text: string): Uint8Array {
  return element(TAG.utf8String, utf8(text));
}

export function printableString(text: string): Uint8Array {
  return element(0x13, utf8(text));
}

export function ia5String(text: string): Uint8Array {
  return element(TAG.ia5String, utf8(text));
}

/** UTCTime up to 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5); fractions of seconds are cut. */
export function time(date: Date): Uint8Array {
  const digits = date.toISOString().replaceAll(/[-:T]|\.\d+Z/g, '');
  return date.getUTCFullYear() < 2050
    ? element(0x17, utf8(`${digits.slice(2)}Z`))
    : element(0x18, utf8(`${digits}Z`));
}
