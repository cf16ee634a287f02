import { crc32 } from 'node:zlib';

/** Longest stored block (RFC 1951, section 3.2.4). */
const MAX_BLOCK_BYTES = 0xffff;
/** RFC 1952: deflate, no flags, no time, no hint, unknown system. */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255);

/** A gzip file that is not compressed: the same bytes whatever the version of the library. */
export function storedGzip(bytes: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [HEADER];
  for (let start = 0; start === 0 || start < bytes.length; start += MAX_BLOCK_BYTES) {
    const block = bytes.subarray(start, start + MAX_BLOCK_BYTES);
    const head = new Uint8Array(5);
    const view = new DataView(head.buffer);
    view.setUint8(0, start + MAX_BLOCK_BYTES >= bytes.length ? 1 : 0);
    view.setUint16(1, block.length, true);
    view.setUint16(3, ~block.length & 0xffff, true);
    parts.push(head, block);
  }
  const end = new Uint8Array(8);
  const view = new DataView(end.buffer);
  view.setUint32(0, crc32(bytes), true);
  view.setUint32(4, bytes.length, true);
  return Buffer.concat([...parts, end]);
}
