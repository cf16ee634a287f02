import { equalBytes, utf8 } from './bytes.ts';

/** Where `pattern` stands in `bytes` from an offset on; -1 where it does not. Text is looked for as UTF-8. */
export function indexOfBytes(bytes: Uint8Array, pattern: Uint8Array | string, from = 0): number {
  const wanted = typeof pattern === 'string' ? utf8(pattern) : pattern;
  const [first = 0] = wanted;
  for (let at = bytes.indexOf(first, from); at !== -1; at = bytes.indexOf(first, at + 1)) {
    if (equalBytes(bytes.subarray(at, at + wanted.length), wanted)) return at;
  }
  return -1;
}

export function includesBytes(bytes: Uint8Array, pattern: Uint8Array | string): boolean {
  return indexOfBytes(bytes, pattern) !== -1;
}

export function startsWithBytes(bytes: Uint8Array, pattern: Uint8Array | string): boolean {
  const wanted = typeof pattern === 'string' ? utf8(pattern) : pattern;
  return equalBytes(bytes.subarray(0, wanted.length), wanted);
}

/** Each byte as the character of its number, from `start` to `end`; what lies beyond the end is left out. */
export function latin1(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let text = '';
  const stop = Math.min(end, bytes.length);
  for (let at = start; at < stop; at += 0x8000)
    text += String.fromCharCode(...bytes.subarray(at, Math.min(at + 0x8000, stop)));
  return text;
}

/** Unsigned number of four bytes; NaN beyond the end, which is equal to nothing. */
export function u32leAt(bytes: Uint8Array, offset: number): number {
  if (offset + 4 > bytes.length) return NaN;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset, true);
}

export function u32beAt(bytes: Uint8Array, offset: number): number {
  if (offset + 4 > bytes.length) return NaN;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset);
}

export function u16beAt(bytes: Uint8Array, offset: number): number {
  if (offset + 2 > bytes.length) return NaN;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint16(offset);
}
