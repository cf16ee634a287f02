import { createHash } from 'node:crypto';
import { closeSync, createReadStream, fsyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Parser, type ReadEntry } from 'tar';
import { CudaError } from './errors.ts';
import { counter, type OnProgress } from './progress.ts';
import type { PinnedArchive, PinnedFile } from './release.ts';

interface Source {
  readonly path: string;
  readonly archive: PinnedArchive;
}

/**
 * Writes the named libraries of an archive to a folder, each checked against its digest. Names come from the table,
 * never from the archive: no path of it reaches the file system.
 */
export async function extractLibraries(
  { path, archive }: Source,
  libraries: readonly PinnedFile[],
  target: string,
  { onProgress, signal }: { readonly onProgress: OnProgress; readonly signal: AbortSignal },
): Promise<void> {
  const total = libraries.reduce((sum, { size }) => sum + size, 0);
  const writer = new LibraryWriter(target, counter(onProgress, 'extract', total));
  const wanted = new Map(libraries.map((library) => [`${archive.folder}/${library.name}`, library]));
  const parser = new Parser({
    strict: true,
    filter: (entry) => wanted.has(entry),
    onReadEntry: (entry) => {
      const library = wanted.get(entry.path);
      if (library) writer.take(entry, library);
      else entry.resume();
    },
  });
  try {
    await feed(path, parser, signal);
  } finally {
    writer.close();
  }
  const missing = libraries.find(({ name }) => !writer.written.has(name));
  if (missing) throw malformed(`${missing.name} is not in ${archive.folder}`);
}

/** Hands the archive to the parser, which calls back before each piece is done with. */
async function feed(path: string, parser: Parser, signal: AbortSignal): Promise<void> {
  let broken: unknown;
  const ended = new Promise<void>((resolve) => {
    parser.on('end', resolve).on('abort', resolve);
    parser.on('error', (error: unknown) => {
      broken ??= error;
      resolve();
    });
  });
  for await (const chunk of createReadStream(path, { signal }) as AsyncIterable<Buffer>) {
    parser.write(chunk);
    if (broken !== undefined) break;
  }
  parser.end();
  await ended;
  if (broken === undefined) return;
  if (broken instanceof CudaError) throw broken;
  throw new CudaError('ARCHIVE_MALFORMED', 'the archive cannot be read to its end', { cause: broken });
}

/** Writes entries as they come, and keeps only those that are as pinned. */
class LibraryWriter {
  /** Names of libraries that were written and checked. */
  readonly written = new Set<string>();
  readonly #target: string;
  readonly #count: (bytes: number) => void;
  readonly #open = new Set<number>();

  constructor(target: string, count: (bytes: number) => void) {
    this.#target = target;
    this.#count = count;
  }

  take(entry: ReadEntry, { name, size, sha256 }: PinnedFile): void {
    if (entry.type !== 'File' || entry.size !== size) {
      throw malformed(`${name} is a ${entry.type} of ${entry.size} bytes, pinned are ${size}`);
    }
    if (this.written.has(name)) throw malformed(`${name} is there twice`);
    const hash = createHash('sha256');
    const file = openSync(join(this.#target, name), 'wx', 0o644);
    this.#open.add(file);
    entry.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      for (let from = 0; from < chunk.length;) from += writeSync(file, chunk, from);
      this.#count(chunk.length);
    });
    entry.on('end', () => {
      fsyncSync(file);
      const found = hash.digest('hex');
      if (found !== sha256)
        throw new CudaError('LIBRARY_UNKNOWN', `${name} is ${found}, pinned is ${sha256}`);
      this.written.add(name);
    });
  }

  close(): void {
    for (const file of this.#open) closeSync(file);
    this.#open.clear();
  }
}

function malformed(message: string): CudaError {
  return new CudaError('ARCHIVE_MALFORMED', message);
}
