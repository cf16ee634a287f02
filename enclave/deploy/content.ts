import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { FileContent } from '../image/tree.ts';
import { DeployError } from './errors.ts';

/** The content of a file of the build machine, of the size that it has now. */
export async function contentOf(path: string): Promise<FileContent> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new DeployError('DEPLOY_PART_INVALID', `${path} cannot be read`, { cause });
  });
  if (!found.isFile()) throw new DeployError('DEPLOY_PART_INVALID', `${path} is no file`);
  return { path, size: found.size };
}

/** The bytes in pieces. A file that changed its size since it was looked at is refused. */
export async function* piecesOf(content: FileContent): AsyncGenerator<Uint8Array> {
  if (content instanceof Uint8Array) {
    yield content;
    return;
  }
  let read = 0;
  for await (const piece of createReadStream(content.path) as AsyncIterable<Uint8Array>) {
    read += piece.length;
    yield piece;
  }
  if (read !== content.size) {
    throw new DeployError(
      'DEPLOY_PART_INVALID',
      `${content.path} has ${read} bytes, expected ${content.size}`,
    );
  }
}

/** SHA-256, lower-case hex. */
export async function sha256Of(content: FileContent): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of piecesOf(content)) hash.update(piece);
  return hash.digest('hex');
}
