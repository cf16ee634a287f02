import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from '../errors.ts';
import type { FileContent } from '../tree.ts';

/** One read of a file, bytes. */
const PIECE_BYTES = 1024 * 1024;

export interface FileDigest {
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** Size and SHA-256 of a file, which is read in pieces. `onBytes` hears of each. */
export async function digestFile(path: string, onBytes?: (bytes: number) => void): Promise<FileDigest> {
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    const pieces = createReadStream(path, { highWaterMark: PIECE_BYTES }) as AsyncIterable<Buffer>;
    for await (const piece of pieces) {
      hash.update(piece);
      bytes += piece.length;
      onBytes?.(piece.length);
    }
  } catch (error) {
    throw unreadable(path, error);
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** The same of what stands in a tree. */
export async function digestContent(content: FileContent): Promise<FileDigest> {
  if (!(content instanceof Uint8Array)) return digestFile(content.path);
  return { bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
}

/** A whole file of at most `limit` bytes below a folder. */
export async function readWhole(folder: string, name: string, limit: number): Promise<Uint8Array> {
  return reading(join(folder, name), async (handle) => {
    const { size } = await handle.stat();
    if (size > limit) throw new ImageError('IMAGE_PART_MALFORMED', `${name} is larger than ${limit} bytes`);
    return readRange(handle, 0, size, name);
  });
}

/** The first bytes of a file, or as many as there are. */
export async function readFirst(path: string, length: number): Promise<Uint8Array> {
  return reading(path, async (handle) => {
    const { size } = await handle.stat();
    return readRange(handle, 0, Math.min(size, length), path);
  });
}

/** Opens a file for reading; what the system says is said as `IMAGE_PART_MALFORMED`. */
export async function reading<Result>(
  path: string,
  use: (handle: FileHandle) => Promise<Result>,
): Promise<Result> {
  let handle: FileHandle;
  try {
    handle = await open(path);
  } catch (error) {
    throw unreadable(path, error);
  }
  try {
    return await use(handle);
  } finally {
    await handle.close();
  }
}

/** Exactly so many bytes from an offset on. */
export async function readRange(
  handle: FileHandle,
  offset: number,
  length: number,
  name: string,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const wanted = Math.min(PIECE_BYTES, length - done);
    const { bytesRead } = await handle.read(bytes, done, wanted, offset + done);
    if (bytesRead === 0) throw new ImageError('IMAGE_PART_MALFORMED', `${name} is shorter than it says`);
    done += bytesRead;
  }
  return bytes;
}

function unreadable(path: string, cause: unknown): ImageError {
  const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
  const why = code === 'ENOENT' ? 'there is no such file' : code;
  return new ImageError('IMAGE_PART_MALFORMED', `${path} cannot be read: ${why}`, { cause });
}
