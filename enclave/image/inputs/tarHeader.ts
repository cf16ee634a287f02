import { ImageError } from '../errors.ts';

export const BLOCK = 512;
/** Checksum field: counted as if it were spaces. */
const CHECKSUM = { start: 148, end: 156 };

/** One header of POSIX ustar or GNU tar. Owner and times are not read: nothing of them goes into an image. */
export interface TarHeader {
  readonly name: string;
  readonly mode: number;
  readonly size: number;
  readonly type: string;
  readonly target: string;
}

/** Undefined for the blocks of zeros that end an archive. */
export function readTarHeader(block: Uint8Array): TarHeader | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  const sum = block.reduce(
    (total, byte, at) => total + (at >= CHECKSUM.start && at < CHECKSUM.end ? 0x20 : byte),
    0,
  );
  if (readOctal(block, CHECKSUM.start, 8) !== sum) throw malformedTar('a header is damaged');
  if (readText(block, 257, 5) !== 'ustar') throw malformedTar('a header is of an unknown format');
  // GNU headers, of version " ", have times where POSIX has the first part of long paths.
  const prefix = block[263] === 0x30 ? readText(block, 345, 155) : '';
  const name = readText(block, 0, 100);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    mode: readOctal(block, 100, 8),
    size: readOctal(block, 124, 12),
    type: String.fromCharCode(block[156] ?? 0),
    target: readText(block, 157, 100),
  };
}

/** Up to its NUL, in UTF-8: a path that is none would not be the same path in the image. */
export function readText(bytes: Uint8Array, at: number, length: number): string {
  const field = bytes.subarray(at, at + length);
  const end = field.indexOf(0);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      end === -1 ? field : field.subarray(0, end),
    );
  } catch (error) {
    throw malformedTar('a name is not in UTF-8', { cause: error });
  }
}

/** Octal digits, then NUL or space. The binary form of GNU tar, for files above 8 GiB, is refused. */
function readOctal(block: Uint8Array, at: number, length: number): number {
  const digits = Buffer.from(block.subarray(at, at + length)).toString('latin1');
  if (!/^ *[0-7]+[\0 ]*$/.test(digits)) throw malformedTar('a number is not octal');
  return Number.parseInt(digits.replaceAll('\0', ' ').trim(), 8);
}

export function malformedTar(detail: string, options?: ErrorOptions): ImageError {
  return new ImageError('IMAGE_INPUT_MALFORMED', `tar: ${detail}`, options);
}
