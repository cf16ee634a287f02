import { ImageError } from '../errors.ts';
import type { InputCache } from '../inputs/cache.ts';
import { readNpmPackage } from '../inputs/packages.ts';
import type { Tree } from '../tree.ts';
import type { LockedPackage } from './lock.ts';
import { reasonToLeaveOut } from './prune.ts';

/** Packages that are unpacked at a time: unpacking is done beside the event loop. */
const MAX_AT_ONCE = 4;

/** Puts what the packages have for the image below `folder`. Their scripts are not run, and nothing is linked. */
export async function addModules(
  tree: Tree,
  folder: string,
  packages: readonly LockedPackage[],
  cache: InputCache,
): Promise<void> {
  const waiting = packages.values();
  const work = async (): Promise<void> => {
    for (const { location, pin } of waiting) {
      addPackage(tree, `${folder}/${location}`, await readNpmPackage(await cache.file(pin)));
    }
  };
  await Promise.all(Array.from({ length: MAX_AT_ONCE }, work));
}

/** Below the one folder at the top of the archive, which is mostly called `package`. */
function addPackage(tree: Tree, location: string, content: Tree): void {
  let hasManifest = false;
  for (const [path, entry] of content.entries()) {
    if (entry.kind === 'folder') continue;
    const within = path.slice(path.indexOf('/') + 1);
    if (entry.kind !== 'file' || !(entry.content instanceof Uint8Array) || within === path) {
      throw new ImageError('IMAGE_INPUT_MALFORMED', `${location}: ${path} is no file within a package`);
    }
    if (within === 'package.json') hasManifest = true;
    if (reasonToLeaveOut(within, entry.content) !== undefined) continue;
    // A copy: the archive, of which little is kept, is given back to the memory.
    tree.add(`${location}/${within}`, { kind: 'file', mode: 0o644, content: entry.content.slice() });
  }
  if (!hasManifest) throw new ImageError('IMAGE_INPUT_MALFORMED', `${location} has no package.json`);
}
