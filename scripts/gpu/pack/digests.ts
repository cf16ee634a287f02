import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { hashFile } from '../../../src/engine/cuda/digest.ts';

/** In the format of `sha256sum`, so that it can be checked without this program. */
export const DIGESTS = 'SHA256SUMS';

const LINE = /^([0-9a-f]{64}) {2}(.+)$/;

/** Writes the list of digests of everything below `root`; gives back the digest of the list. */
export async function writeDigests(root: string): Promise<string> {
  const lines: string[] = [];
  for (const path of filesBelow(root, '')) lines.push(`${await hashFile(join(root, path))}  ${path}\n`);
  writeFileSync(join(root, DIGESTS), lines.join(''));
  return digestOf(lines.join(''));
}

/**
 * Compares a pack with its list: every file that is listed, and no other one in the folders that are listed, or code
 * could be put beside code. Gives back the digest of the list, undefined where there is none. Throws where they differ.
 */
export async function verifyPack(root: string): Promise<string | undefined> {
  const list = readList(root);
  if (list === undefined) return undefined;
  const listed = new Map<string, string>();
  for (const line of list.split('\n').slice(0, -1)) {
    const [, digest, path] = LINE.exec(line) ?? [];
    if (digest === undefined || path === undefined)
      throw new Error(`${DIGESTS} has a line that is no digest`);
    listed.set(path, digest);
  }
  const folders = new Set([...listed.keys()].filter((path) => path.includes('/')).map(folderOf));
  const present = new Set(filesBelow(root, ''));
  const stranger = [...present].find((path) => !listed.has(path) && folders.has(folderOf(path)));
  if (stranger !== undefined) throw new Error(`${stranger} is not of this pack`);
  for (const [path, digest] of listed) {
    if (!present.has(path)) throw new Error(`${path} is missing from this pack`);
    if ((await hashFile(join(root, path))) !== digest) throw new Error(`${path} is not as it was packed`);
  }
  return digestOf(list);
}

function readList(root: string): string | undefined {
  try {
    return readFileSync(join(root, DIGESTS), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The first folder of a path, which is the pack's own; empty for a file beside the list. */
const folderOf = (path: string): string => (path.includes('/') ? path.slice(0, path.indexOf('/')) : '');

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Paths with `/`, sorted; links count as files, which they are not: they fail when they are read as another one. */
export function filesBelow(root: string, folder: string): readonly string[] {
  const entries = readdirSync(join(root, folder), { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    return entry.isDirectory() ? filesBelow(root, path) : [path];
  });
}
