import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { FilePlace } from '../export/files.ts';
import { hasSystemCode } from '../errors/systemCode.ts';

/** Bytes that the buffer begins with; it grows up to its limit. */
const FIRST_BYTES = 16 * 1024;

/**
 * Reads files into one buffer that is used again for the next: the pages of a new one take as long as the reading.
 * Of a file longer than `limit` it reads one byte more than that, so that it is not taken for one of full length.
 */
export class FileBuffer {
  readonly #limit: number;
  #bytes = new Uint8Array(FIRST_BYTES);

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The content, until the next is read; undefined where there is no such file. */
  read(place: FilePlace): Uint8Array | undefined {
    if (typeof place !== 'string') return this.#fill(place.file, place.start, place.size);
    const file = openThere(place);
    if (file === undefined) return undefined;
    try {
      return this.#fill(file, 0, fstatSync(file).size);
    } finally {
      closeSync(file);
    }
  }

  #fill(file: number, start: number, size: number): Uint8Array {
    const length = Math.min(size, this.#limit + 1);
    if (this.#bytes.length < length) this.#bytes = new Uint8Array(length + (length >> 3));
    const bytes = this.#bytes;
    let done = 0;
    while (done < length) {
      const count = readSync(file, bytes, done, length - done, start + done);
      if (count === 0) break;
      done += count;
    }
    // What became shorter while it was read is not what its tree has.
    return new Uint8Array(bytes.buffer, 0, done);
  }
}

function openThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
