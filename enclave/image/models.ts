import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { listFiles } from './application/dist.ts';
import { ImageError } from './errors.ts';
import { Tree } from './tree.ts';

/** Most files of a models volume. */
const MAX_FILES = 100_000;

/** Models of a folder, each in a folder of its own; what else lies there is left out. */
export async function modelsTree(
  folder: string,
): Promise<{ readonly tree: Tree; readonly names: readonly string[] }> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    throw new ImageError('IMAGE_TREE_INVALID', 'The folder of the models cannot be read', { cause: error });
  });
  const names = entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => name)
    .sort();
  if (names.length === 0) throw new ImageError('IMAGE_TREE_INVALID', 'The folder of the models has none');
  const tree = new Tree();
  for (const name of names) {
    for (const path of await listFiles(join(folder, name))) {
      const file = join(folder, name, path);
      tree.add(`${name}/${path}`, {
        kind: 'file',
        mode: 0o644,
        content: { path: file, size: (await stat(file)).size },
      });
    }
  }
  if (tree.entries().length > MAX_FILES) {
    throw new ImageError('IMAGE_TOO_LARGE', `The models have more than ${MAX_FILES} files`);
  }
  return { tree, names };
}
