import { ImageError } from '../errors.ts';
import type { Tree, TreeEntry } from '../tree.ts';
import { readElf, X86_64 } from './elf.ts';

/** Where glibc of Debian looks without a cache of libraries. */
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';
const LOADER = 'ld-linux-x86-64.so.2';
/** Where programs name their loader (System V ABI, AMD64 supplement). */
const LOADER_PATH = `lib64/${LOADER}`;
/** Opened at run time by name: by glibc when a thread is cancelled, and by drivers of GPUs. */
const BY_NAME = ['libgcc_s.so.1', 'libdl.so.2', 'libpthread.so.0', 'librt.so.1', 'libresolv.so.2'];

/** Puts the runtime into the root: Node and nothing else that could be started. */
export function addNode(root: Tree, node: Tree): void {
  root.add('usr/bin/node', { ...regularFile(node, 'package/bin/node'), mode: 0o755 });
  root.add('usr/share/doc/node/LICENSE', { ...regularFile(node, 'package/LICENSE'), mode: 0o644 });
}

/**
 * Adds the loader, and the libraries that programs and libraries of the root need, and those need. A name that no
 * package has is refused: the service would end when it starts.
 */
export function addLibraries(root: Tree, packages: readonly Tree[]): void {
  const own = new Set<string>();
  const waiting = [...BY_NAME];
  for (const [path, entry] of root.entries()) {
    if (entry.kind !== 'file' || !(entry.content instanceof Uint8Array)) continue;
    const elf = readElf(entry.content);
    if (elf === undefined) continue;
    if (elf.machine !== X86_64) throw new ImageError('IMAGE_TREE_INVALID', `${path} is for another machine`);
    own.add(path.slice(path.lastIndexOf('/') + 1));
    waiting.push(...elf.needed);
  }
  addFile(root, LOADER_PATH, findLibrary(packages, LOADER), 0o755);
  const done = new Set([LOADER]);
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    // A library of a package of npm lies beside what needs it, which says so itself.
    if (done.has(name) || own.has(name)) continue;
    done.add(name);
    const content = findLibrary(packages, name);
    addFile(root, `${LIBRARIES}/${name}`, content, 0o644);
    waiting.push(...(readElf(content)?.needed ?? []));
  }
}

function findLibrary(packages: readonly Tree[], name: string): Uint8Array {
  const holder = packages.find((tree) => tree.get(`${LIBRARIES}/${name}`) !== undefined);
  if (holder === undefined) throw new ImageError('IMAGE_INPUT_MISSING', `no pinned package has ${name}`);
  return regularFile(holder, `${LIBRARIES}/${name}`).content;
}

/** Texts that the licences of Debian packages ask for. Links lead to the package that they share a source with. */
export function addCopyrights(
  root: Tree,
  packages: readonly { readonly name: string; readonly tree: Tree }[],
): void {
  for (const { name, tree } of packages) {
    const holders = [tree, ...packages.map((other) => other.tree)];
    const folder = tree.get(`usr/share/doc/${name}`);
    const target = folder?.kind === 'link' ? folder.target : name;
    const holder = holders.find(
      (candidate) => candidate.get(`usr/share/doc/${target}/copyright`) !== undefined,
    );
    if (holder === undefined) throw new ImageError('IMAGE_INPUT_MISSING', `${name} has no copyright file`);
    addFile(
      root,
      `usr/share/doc/${name}/copyright`,
      regularFile(holder, `usr/share/doc/${target}/copyright`).content,
      0o644,
    );
  }
  for (const { tree } of packages) {
    for (const [path, entry] of tree.entries()) {
      if (path.startsWith('usr/share/common-licenses/')) root.add(path, entry);
    }
  }
}

function addFile(root: Tree, path: string, content: Uint8Array, mode: number): void {
  root.add(path, { kind: 'file', mode, content });
}

/** A file of a package; links within one folder are followed once. */
function regularFile(
  tree: Tree,
  path: string,
): Extract<TreeEntry, { kind: 'file' }> & { content: Uint8Array } {
  const entry = tree.get(path);
  const target =
    entry?.kind === 'link' ? tree.get(path.slice(0, path.lastIndexOf('/') + 1) + entry.target) : entry;
  if (target?.kind !== 'file' || !(target.content instanceof Uint8Array)) {
    throw new ImageError('IMAGE_INPUT_MISSING', `a pinned package has no ${path}`);
  }
  return { ...target, content: target.content };
}
