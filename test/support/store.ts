import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from '@jest/globals';

/** The models that ship with the project. */
export const SHIPPED_MODELS = fileURLToPath(new URL('../../models/', import.meta.url));

const made: string[] = [];
afterAll(() => Promise.all(made.map((path) => rm(path, { recursive: true, force: true }))));

/** A model store of these files, by path; removed after the tests. */
export async function makeStore(files: Readonly<Record<string, string | Uint8Array>> = {}): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'vouchsafe-store-'));
  made.push(root);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
  return root;
}

/** A copy of the shipped models that a test may spoil. */
export async function copyShipped(): Promise<string> {
  const root = await makeStore();
  await cp(SHIPPED_MODELS, root, { recursive: true });
  return root;
}
