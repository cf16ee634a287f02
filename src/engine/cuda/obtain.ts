import { execFile } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { promisify } from 'node:util';
import { hashFile } from './digest.ts';
import { CudaError } from './errors.ts';
import { counter, type OnProgress } from './progress.ts';
import type { CudaRelease, PinnedArchive } from './release.ts';

const run = promisify(execFile);

export interface ObtainOptions {
  /** File or address of an archive; undefined asks the registry that npm is set to. */
  readonly from: string | undefined;
  /** Where what is fetched is put. */
  readonly scratch: string;
  readonly onProgress: OnProgress;
  readonly signal: AbortSignal;
  /** Fetches a package as `npm pack` does; tests say how. */
  readonly pack?: (name: string, scratch: string, signal: AbortSignal) => Promise<void>;
}

export interface ObtainedArchive {
  readonly path: string;
  readonly archive: PinnedArchive;
}

/** Finds or fetches an archive, and says which of the pinned ones it is. No byte of another one is interpreted. */
export async function obtainArchive(
  { archives }: CudaRelease,
  options: ObtainOptions,
): Promise<ObtainedArchive> {
  const largest = Math.max(...archives.map(({ size }) => size));
  const path = await locate(archives, largest, options);
  const { size } = await readable(path, () => stat(path));
  const sized = archives.filter((archive) => archive.size === size);
  if (sized.length === 0) {
    const wanted = archives.map((archive) => archive.size).join(' or ');
    throw new CudaError('ARCHIVE_UNKNOWN', `the archive has ${size} bytes, pinned are ${wanted}`);
  }
  const { onProgress, signal } = options;
  const sha256 = await readable(path, () => hashFile(path, counter(onProgress, 'check', size), signal));
  const archive = sized.find((candidate) => candidate.sha256 === sha256);
  if (!archive) throw new CudaError('ARCHIVE_UNKNOWN', `the archive is ${sha256}, which is not pinned`);
  return { path, archive };
}

async function locate(
  archives: readonly PinnedArchive[],
  largest: number,
  options: ObtainOptions,
): Promise<string> {
  const { from } = options;
  if (from === undefined) return packed(archives, options);
  return /^https?:\/\//i.test(from) ? downloaded(from, largest, options) : from;
}

/** Through npm itself: its registry may be a mirror, and it has the proxy and the keys for it. */
async function packed(
  [archive]: readonly PinnedArchive[],
  { scratch, onProgress, signal, pack = npmPack }: ObtainOptions,
): Promise<string> {
  if (!archive) throw new CudaError('ARCHIVE_UNREACHABLE', 'no archive is known for this platform');
  onProgress('fetch', 0, undefined);
  try {
    await pack(archive.package, scratch, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw new CudaError('ARCHIVE_UNREACHABLE', `npm pack ${archive.package} failed${reasonOf(error)}`, {
      cause: error,
    });
  }
  const name = (await readdir(scratch)).find((file) => file.endsWith('.tgz'));
  if (name === undefined) throw new CudaError('ARCHIVE_UNREACHABLE', 'npm pack wrote no archive');
  return join(scratch, name);
}

async function npmPack(name: string, scratch: string, signal: AbortSignal): Promise<void> {
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];
  await run('npm', ['pack', name, '--pack-destination', scratch, ...flags], { cwd: scratch, signal });
}

/** The first line of what npm says. */
function reasonOf(error: unknown): string {
  const { stderr, code } = error as { readonly stderr?: unknown; readonly code?: unknown };
  if (code === 'ENOENT') return ': npm is not installed';
  const line =
    typeof stderr === 'string' ? stderr.split('\n').find((text) => /^npm (?:error|ERR!)/.test(text)) : '';
  return line ? `: ${line.slice(0, 200)}` : '';
}

async function downloaded(
  url: string,
  largest: number,
  { scratch, onProgress, signal }: ObtainOptions,
): Promise<string> {
  const path = join(scratch, 'archive.tgz');
  try {
    const response = await fetch(url, { signal });
    if (!response.ok || !response.body) {
      throw new CudaError('ARCHIVE_UNREACHABLE', `the mirror answered HTTP ${response.status}`);
    }
    const length = Number(response.headers.get('content-length') ?? Number.NaN);
    const count = counter(onProgress, 'fetch', Number.isNaN(length) ? largest : length);
    await pipeline(
      Readable.fromWeb(response.body as ReadableStream<Uint8Array>),
      (source: AsyncIterable<Uint8Array>) => bounded(source, largest, count),
      createWriteStream(path, { flags: 'wx', mode: 0o600 }),
      { signal },
    );
    return path;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof CudaError) throw error;
    throw new CudaError('ARCHIVE_UNREACHABLE', 'the archive could not be fetched', { cause: error });
  }
}

/** Ends what is longer than any archive that is pinned. */
async function* bounded(
  source: AsyncIterable<Uint8Array>,
  largest: number,
  count: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const chunk of source) {
    length += chunk.length;
    if (length > largest) {
      throw new CudaError('ARCHIVE_UNKNOWN', `the archive has more than ${largest} bytes`);
    }
    count(chunk.length);
    yield chunk;
  }
}

async function readable<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof CudaError || code === 'ABORT_ERR') throw error;
    throw new CudaError('ARCHIVE_UNREADABLE', `${path}: ${code ?? 'cannot be read'}`, { cause: error });
  }
}
