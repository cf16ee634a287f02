import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Tree, TreeEntry } from '../tree.ts';

/** Writes what `isWanted` of a tree below a folder that is empty. The mode is that of the tree, whatever the umask is. */
export async function unpackTree(
  tree: Tree,
  folder: string,
  isWanted: (path: string) => boolean,
): Promise<void> {
  for (const [path, entry] of tree.entries()) {
    if (entry.kind === 'folder' || !isWanted(path)) continue;
    const target = join(folder, path);
    await mkdir(dirname(target), { recursive: true });
    await unpackEntry(entry, target);
  }
}

async function unpackEntry(entry: Exclude<TreeEntry, { kind: 'folder' }>, target: string): Promise<void> {
  if (entry.kind === 'link') {
    await symlink(entry.target, target);
    return;
  }
  if (entry.content instanceof Uint8Array) await writeFile(target, entry.content, { flag: 'wx' });
  else await copyFile(entry.content.path, target);
  await chmod(target, entry.mode & 0o755);
}
