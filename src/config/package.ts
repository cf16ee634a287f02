import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of this package: that of the nearest `package.json` above this file, compiled or not. */
export const PACKAGE_ROOT = findRoot(dirname(fileURLToPath(import.meta.url)));

function findRoot(folder: string): string {
  try {
    readFileSync(join(folder, 'package.json'));
    return folder;
  } catch {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('the package has no package.json');
    return findRoot(parent);
  }
}

/** Name and version of this software, as keysets and metadata state them. */
export const SOFTWARE = readSoftware();

function readSoftware(): { readonly name: string; readonly version: string } {
  const text = readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8');
  const { name, version } = JSON.parse(text) as { name: string; version: string };
  return { name, version };
}
