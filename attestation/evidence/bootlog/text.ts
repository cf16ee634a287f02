import { toHex } from '../../bytes/bytes.ts';

/** Longest text that is shown, in characters. Kernel command lines end at 2048 on x86. */
const MAX_TEXT = 2048;
const MAX_HEX_BYTES = 32;

// Not fatal: what is no text becomes U+FFFD, so that the result is valid Unicode whoever wrote the log.
const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true });
const UTF16 = new TextDecoder('utf-16le', { ignoreBOM: true });

/** UTF-16LE up to its first NUL. */
export function utf16Text(bytes: Uint8Array): string {
  return bounded(UTF16.decode(bytes.subarray(0, 2 * (MAX_TEXT + 1))));
}

/** UTF-8 up to its first NUL. */
export function utf8Text(bytes: Uint8Array): string {
  return bounded(UTF8.decode(bytes.subarray(0, 4 * (MAX_TEXT + 1))));
}

/** Text in either encoding: UTF-16 of ASCII has a zero in every second byte. */
export function anyText(bytes: Uint8Array): string {
  return isUtf16Ascii(bytes) ? utf16Text(bytes) : utf8Text(bytes);
}

/** True for at least one character of ASCII in UTF-16LE. A last byte without its pair is passed over. */
export function isUtf16Ascii(bytes: Uint8Array): boolean {
  return (
    bytes.length >= 2 && bytes[0] !== 0 && bytes.every((byte, i) => (i % 2 === 0 ? byte < 0x80 : byte === 0))
  );
}

// Control characters except tab, newline and carriage return, and what a decoder puts in place of other bytes.
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const NO_TEXT = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ufffd]/u;

/** Text where the bytes are text, else hex. */
export function textOrHex(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'empty';
  const text = anyText(bytes);
  return text === '' || NO_TEXT.test(text) ? hexText(bytes) : text;
}

/** `4 bytes 00000000`; a long value is cut. */
export function hexText(bytes: Uint8Array): string {
  const shown = bytes.subarray(0, MAX_HEX_BYTES);
  const unit = bytes.length === 1 ? 'byte' : 'bytes';
  return `${bytes.length} ${unit} ${toHex(shown)}${shown.length < bytes.length ? '…' : ''}`.trimEnd();
}

/** EFI_GUID: three little-endian numbers, then eight bytes. */
export function guidText(bytes: Uint8Array): string {
  const littleEndian = (from: number, to: number) => toHex(bytes.subarray(from, to).toReversed());
  const head = [littleEndian(0, 4), littleEndian(4, 6), littleEndian(6, 8)];
  return [...head, toHex(bytes.subarray(8, 10)), toHex(bytes.subarray(10, 16))].join('-');
}

/** Text cut to its bound, between characters. */
export function shorten(text: string): string {
  if (text.length <= MAX_TEXT) return text;
  const characters = Array.from(text.slice(0, 2 * MAX_TEXT));
  return `${characters.slice(0, MAX_TEXT).join('')}…`;
}

function bounded(text: string): string {
  const end = text.indexOf('\0');
  return shorten(end === -1 ? text : text.slice(0, end));
}
