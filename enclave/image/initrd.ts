import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bootModules } from './guest/modules.ts';
import type { Tools } from './inputs/tools.ts';
import type { Tree } from './tree.ts';

const INIT = fileURLToPath(new URL('guest/init.c', import.meta.url));
/** Where the first program mounts, before the root is there. */
const FOLDERS = ['dev', 'proc', 'sys', 'root'];

/** The first program, and the modules that it loads. `folder` is for what is in between. */
export async function initrdTree(tools: Pick<Tools, 'run'>, kernel: Tree, folder: string): Promise<Tree> {
  const tree = await bootModules(kernel);
  const path = join(folder, 'init');
  await tools.run('tcc', ['-nostdlib', '-static', '-o', path, INIT]);
  for (const name of FOLDERS) tree.add(name, { kind: 'folder', mode: 0o755 });
  tree.add('init', { kind: 'file', mode: 0o755, content: await readFile(path) });
  return tree;
}
