import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { HostingError } from '../hostingErrors.ts';

const CHUNK = 0x40_0000;
// The disk may be the attacker's: never follow a link, never wait for the writer of a named pipe.
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export interface Hashed {
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Hash by which git names the content, lower-case hex. */
  readonly gitBlob?: string;
}

/** Reads a regular file in pieces. */
export async function* readPieces(path: string): AsyncGenerator<Uint8Array> {
  const handle = await open(path, FLAGS);
  try {
    if (!(await handle.stat()).isFile()) throw new HostingError('ENTRY_REFUSED', `${path} is no regular file`);
    const piece = Buffer.allocUnsafe(CHUNK);
    for (;;) {
      const { bytesRead } = await handle.read(piece, 0, CHUNK);
      if (bytesRead === 0) return;
      // The consumer is done with a piece before it asks for the next.
      yield piece.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

/** Hashes a file; undefined where there is none. */
export async function hashFile(
  path: string,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<Hashed | undefined> {
  const hash = createHash('sha256');
  let size = 0;
  try {
    for await (const piece of readPieces(path)) {
      hash.update(piece);
      size += piece.length;
      onBytes(piece.length);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return { size, sha256: hash.digest('hex') };
}
