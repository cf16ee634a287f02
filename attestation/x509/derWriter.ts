import { concat } from '../bytes/bytes.ts';
import { TAG } from './der.ts';

/** One DER element (X.690 section 10.1) of less than 64 KiB: what is asked of others is small. */
export function element(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = concat(...contents);
  const { length } = content;
  const octets =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concat(Uint8Array.of(tag, ...octets), content);
}

/** INTEGER of a magnitude without leading zeros. */
export function positiveInteger(magnitude: Uint8Array): Uint8Array {
  const sign = (magnitude[0] ?? 0x80) >= 0x80 ? Uint8Array.of(0) : new Uint8Array();
  return element(TAG.integer, sign, magnitude);
}
