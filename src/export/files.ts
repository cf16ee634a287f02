import { readFileSync } from 'node:fs';
import { hasSystemCode } from '../errors/systemCode.ts';

/** Where the bytes of a file lie, for a thread that reads them itself: its path, or a part of one that is open. */
export type FilePlace = string | { readonly file: number; readonly start: number; readonly size: number };

/**
 * Content of a file; undefined where there is none. At once: of the many small files of a log most lie in memory, and
 * four turns of the thread pool would take longer than the reading.
 */
export function readNow(path: string): Uint8Array | undefined {
  try {
    const bytes = readFileSync(path);
    // A plain view: slices of a Buffer are Buffers, which take longer to make.
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
