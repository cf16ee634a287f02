import { type FileHandle, lstat, open, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostingError } from '../hostingErrors.ts';

/** Below the folder of the models; names with a dot are no models there. */
const HOME = '.store';

/** Where the parts of a release store lie. */
export interface Layout {
  readonly home: string;
  /** One file for each content: `<hex SHA-256>`. Read-only, and shared by all releases that have it. */
  readonly blobs: string;
  /** One folder for each release: `<name>@<version>/{release.json,signature.json,files/}`. */
  readonly releases: string;
  readonly aliases: string;
  /** What is not whole yet; whatever lies here while nobody writes is left over from a crash. */
  readonly incoming: string;
  readonly locks: string;
}

export const RECORD_FILE = 'release.json';
export const SIGNATURE_FILE = 'signature.json';
export const FILES_FOLDER = 'files';

export function layoutOf(directory: string): Layout {
  const home = join(directory, HOME);
  return {
    home,
    blobs: join(home, 'blobs', 'sha256'),
    releases: join(home, 'releases'),
    aliases: join(home, 'aliases.json'),
    incoming: join(home, 'incoming'),
    locks: join(home, 'locks'),
  };
}

/** Folder that the paths of a release are relative to. */
export function filesOf({ releases }: Layout, reference: string): string {
  return join(releases, reference, FILES_FOLDER);
}

/** Names in a folder that may not be there yet. */
export async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw unusable(folder, error);
  }
}

/** Bytes of a small file of ours, read through no link; undefined where there is none. */
export async function readSmall(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
  let handle: FileHandle | undefined;
  try {
    if (!(await lstat(path)).isFile()) throw new HostingError('RECORD_MALFORMED', `${path} is no regular file`);
    handle = await open(path, 'r');
    if ((await handle.stat()).size > maxBytes) {
      throw new HostingError('RECORD_MALFORMED', `${path} is larger than ${maxBytes} bytes`);
    }
    return new Uint8Array(await handle.readFile());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unusable(path, error);
  } finally {
    await handle?.close();
  }
}

export async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(path, bytes, { flag: 'wx', mode: 0o444, flush: true });
}

/** The former content stays until the new one is whole on disk. */
export async function replaceSynced(path: string, temporary: string, bytes: Uint8Array): Promise<void> {
  await writeSynced(temporary, bytes);
  await rename(temporary, path);
  await syncFolder(join(path, '..'));
}

/** Makes names in a folder outlive a loss of power. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export function unusable(what: string, error: unknown): HostingError {
  if (error instanceof HostingError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
  return new HostingError('STORE_UNREADABLE', `${what}: ${code}`, { cause: error });
}
