import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CudaRelease, PinnedFile } from './release.ts';

const CHUNK = 0x10_0000;

/** SHA-256 of a file in lower-case hex. */
export async function hashFile(
  path: string,
  onBytes: (bytes: number) => void = () => undefined,
  signal?: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256');
  const options = { highWaterMark: CHUNK, ...(signal && { signal }) };
  for await (const chunk of createReadStream(path, options) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    onBytes(chunk.length);
  }
  return hash.digest('hex');
}

/** `pinned` is the file as pinned, `other` another one. */
export type LibraryState = 'pinned' | 'other' | 'absent';

export interface LibraryStatus {
  readonly name: string;
  readonly state: LibraryState;
}

/** What lies in the folder of the runtime under the names of the libraries. */
export function libraryStates({ libraries }: CudaRelease, folder: string): Promise<readonly LibraryStatus[]> {
  return Promise.all(
    libraries.map(async (library) => ({ name: library.name, state: await stateOf(folder, library) })),
  );
}

async function stateOf(folder: string, { name, size, sha256 }: PinnedFile): Promise<LibraryState> {
  const path = join(folder, name);
  const found = await stat(path).catch(() => undefined);
  if (!found) return 'absent';
  const same = found.isFile() && found.size === size && (await hashFile(path)) === sha256;
  return same ? 'pinned' : 'other';
}
