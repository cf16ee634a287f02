import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, test } from '@jest/globals';

const SHARED = new URL('../../../shared/', import.meta.url);

/** Absolute path of a folder of the shared corpus, or undefined where this checkout has none beside it. */
export function corpusPath(folder: string): string | undefined {
  const path = fileURLToPath(new URL(folder, SHARED));
  return existsSync(path) ? path : undefined;
}

/** A suite over the shared corpus; without it, one test says so. */
export function describeCorpus(name: string, folder: string, suite: (directory: string) => void): void {
  const directory = corpusPath(folder);
  if (directory) describe(name, () => suite(directory));
  else describe(name, () => test.skip('skipped: no shared corpus', () => undefined));
}
