import { type Dirent } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { hashFile } from './hashing.ts';
import { filesOf, type Layout } from './layout.ts';
import { referenceOf } from './names.ts';
import type { ReleaseFile, ReleaseRecord } from './record.ts';

/** What is wrong with one file of a release. */
export interface FileProblem {
  readonly path: string;
  readonly code: 'MISSING' | 'CHANGED' | 'UNEXPECTED' | 'UNREADABLE';
  readonly detail: string;
}

/** Reads every byte of a release and compares it with the record; also tells files that do not belong there. */
export async function checkFiles(
  layout: Layout,
  record: ReleaseRecord,
  onBytes: (bytes: number) => void,
): Promise<readonly FileProblem[]> {
  const root = filesOf(layout, referenceOf(record));
  const problems: FileProblem[] = [];
  for (const file of record.files) {
    const problem = await checkFile(root, file, onBytes);
    if (problem) problems.push(problem);
  }
  const strangers = await strangersIn(root, record);
  return [
    ...problems,
    ...strangers.map((path): FileProblem => ({ path, code: 'UNEXPECTED', detail: 'is not in the record' })),
  ];
}

/** Paths below the folder of a release that its record does not have. */
export async function strangersIn(root: string, { files }: ReleaseRecord): Promise<readonly string[]> {
  const known = new Set(files.map(({ path }) => path));
  return (await pathsBelow(root, '')).filter((path) => !known.has(path));
}

async function checkFile(
  root: string,
  { path, size, sha256 }: ReleaseFile,
  onBytes: (bytes: number) => void,
): Promise<FileProblem | undefined> {
  try {
    const at = join(root, path);
    const found = await lstat(at).catch(() => undefined);
    if (!found) return { path, code: 'MISSING', detail: 'does not exist' };
    if (!found.isFile()) return { path, code: 'CHANGED', detail: 'is no regular file' };
    const hashed = await hashFile(at, onBytes);
    if (hashed?.sha256 === sha256 && hashed.size === size) return undefined;
    const was = hashed ? `has the digest ${hashed.sha256} and ${hashed.size} bytes` : 'does not exist';
    return { path, code: 'CHANGED', detail: `${was}, recorded are ${sha256} and ${size} bytes` };
  } catch (error) {
    const detail = (error as NodeJS.ErrnoException).code ?? 'cannot be read';
    return { path, code: 'UNREADABLE', detail };
  }
}

/** Everything below a folder that is no folder. */
async function pathsBelow(root: string, folder: string): Promise<readonly string[]> {
  let entries: readonly Dirent[];
  try {
    entries = await readdir(join(root, folder), { withFileTypes: true });
  } catch {
    return [];
  }
  const paths: string[] = [];
  for (const entry of entries) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) paths.push(...(await pathsBelow(root, path)));
    else paths.push(path);
  }
  return paths;
}
