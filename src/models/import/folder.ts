import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { HostingError } from '../hostingErrors.ts';
import { readPieces } from '../release/hashing.ts';
import { MAX_FILES } from '../release/pathSet.ts';
import type { Importing } from './importing.ts';

/** Deepest folder; paths of releases have at most eight parts. */
const MAX_DEPTH = 8;

interface Found {
  readonly path: string;
  readonly size: number;
}

/** Takes the files of a folder, which are copied: what happens to the folder later changes no release. */
export async function importFolder(folder: string, { staging, select, onTotal }: Importing): Promise<void> {
  const found: Found[] = [];
  try {
    await walk(folder, '', select, found);
    await staging.requireRoom(found);
    onTotal(found.reduce((sum, { size }) => sum + size, 0));
    for (const { path } of found) {
      staging.claim(path);
      await staging.take(path, readPieces(join(folder, path)));
    }
  } catch (error) {
    throw unreadable(folder, error);
  }
}

async function walk(root: string, folder: string, select: Importing['select'], found: Found[]): Promise<void> {
  if (folder.split('/').length > MAX_DEPTH) {
    throw new HostingError('PATH_REFUSED', `${JSON.stringify(folder)} lies too deep`);
  }
  for (const name of (await readdir(join(root, folder))).sort()) {
    const path = folder === '' ? name : `${folder}/${name}`;
    const entry = await lstat(join(root, path));
    if (entry.isDirectory()) {
      if (path !== '.git' && path !== '.store') await walk(root, path, select, found);
    } else if (select(path)) {
      if (!entry.isFile()) throw notRegular(path, entry.isSymbolicLink());
      found.push({ path, size: entry.size });
      if (found.length > MAX_FILES) throw new HostingError('TOO_MANY_FILES', `there are more than ${MAX_FILES} files`);
    }
  }
}

function notRegular(path: string, isLink: boolean): HostingError {
  return new HostingError(
    'ENTRY_REFUSED',
    `${JSON.stringify(path)} is ${isLink ? 'a symbolic link' : 'no regular file'}`,
  );
}

/** A system's error of the source as ours. */
export function unreadable(what: string, error: unknown): unknown {
  const { code, path } = error as NodeJS.ErrnoException;
  if (error instanceof HostingError || typeof code !== 'string' || typeof path !== 'string') return error;
  return new HostingError('SOURCE_UNREADABLE', `${what}: ${code}`, { cause: error });
}
