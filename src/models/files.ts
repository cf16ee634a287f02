import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { FileRefused } from './errors.ts';
import type { ByteSource } from './onnx.ts';

/** Largest file of weights: 4 GiB, the most that one buffer of Node 20 holds. */
export const MAX_WEIGHTS_BYTES = 0x1_0000_0000;
/** Largest JSON or template file; tokenizers of large vocabularies have some 35 MB. */
export const MAX_TEXT_BYTES = 0x400_0000;
/** One read of the file system; Node refuses single reads of 2 GiB and more. */
const CHUNK = 0x400_0000;
/** Window through which an ONNX file is walked without loading it. */
const WINDOW = 0x1_0000;
const MAX_SEGMENTS = 8;

// The disk may be the attacker's: never follow a link, never wait for the writer of a named pipe.
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * The segments of a relative path in plain characters. `..`, absolute paths and the markers that onnxruntime gives a
 * meaning, such as an address in memory, fall outside the closed character set.
 */
export function plainSegments(path: string): readonly string[] {
  const segments = path.split('/');
  const plain = segments.every((segment) => /^[A-Za-z0-9_.-]{1,255}$/.test(segment) && !/^\.+$/.test(segment));
  if (!plain || segments.length > MAX_SEGMENTS) {
    throw new FileRefused('PATH_ESCAPE', 'is not a plain relative path');
  }
  return segments;
}

/** Size of a regular file below `root`, reached through no link. */
export async function statPlain(root: string, path: string): Promise<number> {
  const segments = plainSegments(path);
  let size = 0;
  for (let i = 1; i <= segments.length; i++) {
    const found = await onDisk(() => lstat(join(root, ...segments.slice(0, i))));
    if (found.isSymbolicLink()) throw new FileRefused('SYMLINK', 'is or passes a symbolic link');
    if (i < segments.length ? !found.isDirectory() : !found.isFile()) {
      throw new FileRefused('NOT_A_FILE', 'is no regular file');
    }
    size = found.size;
  }
  return size;
}

/** The whole file in memory of its own: what is hashed and run is this buffer, whatever the disk says later. */
export async function readPlain(root: string, path: string, limit: number): Promise<Uint8Array> {
  await statPlain(root, path);
  const handle = await onDisk(() => open(join(root, path), FLAGS));
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new FileRefused('NOT_A_FILE', 'is no regular file');
    if (found.size > limit) throw new FileRefused('FILE_TOO_LARGE', `${found.size} bytes, at most ${limit}`);
    return await onDisk(() => readAll(handle, found.size));
  } finally {
    await handle.close();
  }
}

async function readAll(handle: FileHandle, size: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  let offset = 0;
  while (offset < size) {
    const { bytesRead } = await handle.read(bytes, offset, Math.min(CHUNK, size - offset), offset);
    if (bytesRead === 0) throw new FileRefused('FILE_UNREADABLE', 'became shorter while it was read');
    offset += bytesRead;
  }
  return bytes;
}

/** Takes the pieces of a file, in order; `result` is what they come to. */
export interface PieceReader<Result> {
  readonly take: (piece: Uint8Array, index: number) => void | Promise<void>;
  readonly result: Result;
}

/**
 * Reads a file of exactly `size` bytes in pieces of `pieceBytes`, the last of which may be shorter. The reader is made
 * when the size is known to be so; each piece is good until the next one comes.
 */
export async function readPieces<Result>(
  root: string,
  path: string,
  size: number,
  pieceBytes: number,
  makeReader: () => PieceReader<Result>,
): Promise<Result> {
  await statPlain(root, path);
  const handle = await onDisk(() => open(join(root, path), FLAGS));
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new FileRefused('NOT_A_FILE', 'is no regular file');
    if (found.size !== size) throw new FileRefused('FILE_UNREADABLE', `has ${found.size} bytes, not ${size}`);
    const { take, result } = makeReader();
    const buffer = new Uint8Array(Math.min(pieceBytes, size));
    for (let offset = 0, index = 0; offset < size; offset += pieceBytes, index++) {
      const piece = buffer.subarray(0, Math.min(pieceBytes, size - offset));
      await onDisk(() => fill(handle, piece, offset));
      await take(piece, index);
    }
    return result;
  } finally {
    await handle.close();
  }
}

async function fill(handle: FileHandle, piece: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < piece.length) {
    const { bytesRead } = await handle.read(piece, done, piece.length - done, position + done);
    if (bytesRead === 0) throw new FileRefused('FILE_UNREADABLE', 'became shorter while it was read');
    done += bytesRead;
  }
}

async function onDisk<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw toRefused(error);
  }
}

function toRefused(error: unknown): FileRefused {
  if (error instanceof FileRefused) return error;
  const code = typeof error === 'object' && error && 'code' in error ? String(error.code) : 'unknown error';
  if (code === 'ENOENT' || code === 'ENOTDIR') return new FileRefused('FILE_MISSING', 'does not exist');
  if (code === 'ELOOP') return new FileRefused('SYMLINK', 'is or passes a symbolic link');
  return new FileRefused('FILE_UNREADABLE', `cannot be read (${code})`);
}

/** A buffer as a byte source. */
export function bufferSource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    byte: (offset) => bytes[offset] ?? 0,
    read: (offset, length) => bytes.subarray(offset, offset + length),
  };
}

/** Calls `use` with a file as a byte source that holds 64 KiB of it in memory. */
export function withFileSource<T>(path: string, use: (source: ByteSource) => T): T {
  let file: number | undefined;
  try {
    file = openSync(path, FLAGS);
    return use(windowed(file, fstatSync(file).size));
  } catch (error) {
    throw toRefused(error);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function windowed(file: number, size: number): ByteSource {
  const window = new Uint8Array(WINDOW);
  let start = 0;
  let filled = 0;
  const read = (offset: number, length: number): Uint8Array => {
    if (offset < start || offset + length > start + filled) {
      start = offset;
      filled = readSync(file, window, 0, WINDOW, offset);
      if (filled < length) throw new FileRefused('FILE_UNREADABLE', 'became shorter while it was read');
    }
    return window.subarray(offset - start, offset - start + length);
  };
  return { size, byte: (offset) => read(offset, 1)[0] ?? 0, read };
}
