import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from '../errors.ts';
import type { InputCache } from '../inputs/cache.ts';
import type { PackageTrees } from '../inputs/packageTrees.ts';
import { Tree } from '../tree.ts';
import { addDist } from './dist.ts';
import type { LockedPackage } from './lock.ts';
import { addModules } from './modules.ts';
import { addCopyrights, addLibraries, addNode } from './runtime.ts';
import { addSettings } from './settings.ts';

export interface RootOptions {
  /** A checkout with its `dist`. */
  readonly source: string;
  readonly cache: InputCache;
  readonly trees: PackageTrees;
  readonly packages: readonly LockedPackage[];
  readonly config: Uint8Array;
  /** os-release(5). */
  readonly release: string;
}

/** Everything that the root of the image consists of: nothing in it can be written, and Node is all that can be started. */
export async function rootTree({
  source,
  cache,
  trees,
  packages,
  config,
  release,
}: RootOptions): Promise<Tree> {
  const root = new Tree();
  await addDist(root, 'app/dist', source);
  await addPackageFiles(root, source);
  await addModules(root, 'app', packages, cache);
  addNode(root, await trees.node());
  const shipped = await trees.shipped();
  addLibraries(
    root,
    shipped.filter(({ pin }) => pin.uses.includes('root')).map(({ tree }) => tree),
  );
  addCopyrights(
    root,
    shipped.map(({ pin, tree }) => ({ name: pin.name, tree })),
  );
  addSettings(root, release, config);
  checkRoot(root);
  return root;
}

/** The service reads its version from package.json. */
async function addPackageFiles(root: Tree, source: string): Promise<void> {
  for (const name of ['package.json', 'LICENSE']) {
    const content = await readFile(join(source, name)).catch((error: unknown) => {
      throw new ImageError('IMAGE_APPLICATION_INVALID', `The checkout has no ${name}`, { cause: error });
    });
    root.add(`app/${name}`, { kind: 'file', mode: 0o644, content });
  }
}

/** No program takes the rights of another user, and none is there but Node, its loader, and what they load. */
function checkRoot(root: Tree): void {
  for (const [path, entry] of root.entries()) {
    if (entry.kind === 'link') continue;
    if ((entry.mode & 0o7022) !== 0)
      throw new ImageError('IMAGE_TREE_INVALID', `${path} has mode ${entry.mode.toString(8)}`);
    const isProgram = entry.kind === 'file' && (entry.mode & 0o111) !== 0;
    if (isProgram && path !== 'usr/bin/node' && !path.startsWith('lib64/')) {
      throw new ImageError('IMAGE_TREE_INVALID', `${path} could be started`);
    }
  }
}
