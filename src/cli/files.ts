import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { MAX_BUNDLE_BYTES } from '../../attestation/bundle/bundle.ts';
import { CliError, EXIT } from './exit.ts';

/** Largest file that a command reads, bytes: an attestation answer is base64 of a document and collateral. */
const MAX_FILE_BYTES = 2 * MAX_BUNDLE_BYTES;

/** Bytes of a file that the caller named. */
export async function readInput(path: string, limit = MAX_FILE_BYTES): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size > limit) throw tooLarge(path, limit);
    return await readAll(path, limit);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Devices and pipes have no size of their own, and some of them no end. */
async function readAll(path: string, limit: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > limit) throw tooLarge(path, limit);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

function tooLarge(path: string, limit: number): CliError {
  return new CliError(EXIT.unreadable, `${path} is larger than ${limit / 2 ** 20} MiB`);
}

export async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    throw unreadable(path, error);
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a folder',
  EACCES: 'permission denied',
};

/** Says what is wrong with a file that the caller named. */
export function unreadable(path: string, error: unknown): CliError {
  if (error instanceof CliError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
  return new CliError(EXIT.unreadable, `${path} cannot be read: ${REASONS[code] ?? code}`);
}
