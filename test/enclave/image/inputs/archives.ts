import { Tree, type TreeEntry } from '../../../../enclave/image/tree.ts';

// Archives as other programs write them, for the readers of this room.

interface TarEntry {
  readonly name: string;
  readonly type?: string;
  readonly content?: Uint8Array;
  readonly mode?: number;
  readonly target?: string;
  readonly size?: number;
  /** GNU tar instead of POSIX. */
  readonly isGnu?: boolean;
  readonly prefix?: string;
}

/** An archive with these entries, and its end mark. */
export function tarOf(...entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), Buffer.alloc(1024)]);
}

export function tarEntry(entry: TarEntry): Buffer {
  const { content = new Uint8Array(), size = content.length } = entry;
  const header = Buffer.alloc(512);
  header.write(entry.name, 0);
  header.write(`${(entry.mode ?? 0o644).toString(8).padStart(7, '0')}\0`, 100);
  header.write('0001750\x000001750\0', 108);
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write('14000000000\0', 136);
  header.write(' '.repeat(8), 148);
  header.write(entry.type ?? '0', 156);
  header.write(entry.target ?? '', 157);
  header.write(entry.isGnu ? 'ustar  \0' : 'ustar\x0000', 257);
  header.write('someone', 265);
  header.write(entry.prefix ?? '', 345);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

/** An archive of ar with these members. */
export function arOf(members: Readonly<Record<string, Uint8Array>>): Buffer {
  const parts = Object.entries(members).map(([name, content]) => {
    const header = `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}`;
    const size = String(content.length).padEnd(10);
    return Buffer.concat([
      Buffer.from(`${header}${size}\`\n`),
      content,
      Buffer.from(content.length % 2 ? '\n' : ''),
    ]);
  });
  return Buffer.concat([Buffer.from('!<arch>\n'), ...parts]);
}

export function treeOf(entries: Readonly<Record<string, TreeEntry>>): Tree {
  const tree = new Tree();
  for (const [path, entry] of Object.entries(entries)) tree.add(path, entry);
  return tree;
}

export function file(text: string, mode = 0o644): TreeEntry {
  return { kind: 'file', mode, content: Buffer.from(text) };
}

/** Paths and what stands there, in a form that can be compared. */
export function listing(tree: Tree): readonly string[] {
  return tree.entries().map(([path, entry]) => {
    if (entry.kind === 'link') return `${path} -> ${entry.target}`;
    if (entry.kind === 'folder') return `${path}/ ${entry.mode.toString(8)}`;
    const content =
      entry.content instanceof Uint8Array
        ? Buffer.from(entry.content).toString('latin1')
        : entry.content.path;
    return `${path} ${entry.mode.toString(8)} ${content}`;
  });
}
