import { InvalidArgumentError } from 'commander';
import { createReadStream } from 'node:fs';
import { readInput, unreadable } from './files.ts';

/** Largest part of an image, bytes. */
const MAX_PART_BYTES = 1024 * 1024 * 1024;

/** Bytes of a kernel, an initrd, a firmware or an image. */
export function readPart(path: string): Promise<Uint8Array> {
  return readInput(path, MAX_PART_BYTES);
}

/** The same; undefined where none was named. */
export async function readOptional(path: string | undefined): Promise<Uint8Array | undefined> {
  return path === undefined ? undefined : readPart(path);
}

/** The first bytes of a disk, or as many as there are. */
export async function readStart(path: string, length: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of createReadStream(path, { end: length - 1 }) as AsyncIterable<Buffer>)
      chunks.push(chunk);
  } catch (error) {
    throw unreadable(path, error);
  }
  return Buffer.concat(chunks);
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** Bytes as QEMU writes them: `4096M`, `64G`. */
export function toBytes(text: string): number {
  const [, number = '', unit = ''] = /^(\d{1,15})([KMGT]?)$/.exec(text) ?? [];
  const bytes = Number(number) * (UNITS[unit] ?? Number.NaN);
  if (number !== '' && Number.isSafeInteger(bytes)) return bytes;
  throw new InvalidArgumentError('Expected a number of bytes, such as 4096M or 64G.');
}

export function toCount(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a whole number.');
}

export function toBits(text: string): bigint {
  if (/^0x[0-9a-f]{1,16}$/i.test(text)) return BigInt(text);
  throw new InvalidArgumentError('Expected hexadecimal digits after 0x.');
}
