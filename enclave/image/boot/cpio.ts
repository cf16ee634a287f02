import { open } from 'node:fs/promises';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { ImageError } from '../errors.ts';
import type { FileContent, Tree, TreeEntry } from '../tree.ts';

/** «newc» (Documentation/driver-api/early-userspace/buffer-format.rst): a magic and 13 numbers of 8 hex digits. */
export const CPIO_MAGIC = '070701';
export const CPIO_HEADER_BYTES = 110;
export const CPIO_TRAILER = 'TRAILER!!!';
/** An initrd has to fit below 4 GiB beside its kernel; ours has a few megabytes. */
export const MAX_CPIO_BYTES = 512 * 1024 * 1024;
/** `PATH_MAX` of the kernel, with the NUL. */
export const MAX_CPIO_NAME_BYTES = 4096;

export const CPIO_KINDS = { folder: 0o040000, file: 0o100000, link: 0o120000 } as const;

/** What an entry of the archive says beside its name and content. */
export interface CpioHeader {
  readonly inode: number;
  readonly mode: number;
}

/**
 * An archive that the kernel unpacks as its initrd: not compressed, owners root, times zero, inodes in the order of
 * the paths. The same tree gives the same bytes.
 */
export async function buildCpio(tree: Tree): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for (const [index, [path, entry]] of tree.entries().entries()) {
    const content = await contentOf(entry);
    const part = cpioEntry(path, { inode: index + 1, mode: modeOf(entry) }, content);
    size += part.length;
    if (size > MAX_CPIO_BYTES) throw new ImageError('IMAGE_TOO_LARGE', `an initrd of ${size} bytes`);
    parts.push(part);
  }
  return Buffer.concat([...parts, cpioEntry(CPIO_TRAILER, { inode: 0, mode: 0 }, new Uint8Array())]);
}

/** One entry; name and content end at a multiple of 4 bytes. */
export function cpioEntry(path: string, { inode, mode }: CpioHeader, content: Uint8Array): Uint8Array {
  const name = utf8(`${path}\0`);
  if (name.length > MAX_CPIO_NAME_BYTES) throw new ImageError('IMAGE_TREE_INVALID', `${path} is too long`);
  const numbers = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const header = CPIO_MAGIC + numbers.map((number) => number.toString(16).padStart(8, '0')).join('');
  const nameEnd = upToFour(CPIO_HEADER_BYTES + name.length);
  const bytes = new Uint8Array(nameEnd + upToFour(content.length));
  bytes.set(utf8(header));
  bytes.set(name, CPIO_HEADER_BYTES);
  bytes.set(content, nameEnd);
  return bytes;
}

export function upToFour(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

function modeOf(entry: TreeEntry): number {
  return CPIO_KINDS[entry.kind] | (entry.kind === 'link' ? 0o777 : entry.mode & 0o7777);
}

async function contentOf(entry: TreeEntry): Promise<Uint8Array> {
  if (entry.kind === 'folder') return new Uint8Array();
  if (entry.kind === 'link') return utf8(entry.target);
  return read(entry.content);
}

async function read(content: FileContent): Promise<Uint8Array> {
  if (content instanceof Uint8Array) return content;
  if (content.size > MAX_CPIO_BYTES) {
    throw new ImageError('IMAGE_TOO_LARGE', `${content.path} has ${content.size} bytes`);
  }
  const file = await open(content.path, 'r');
  try {
    const bytes = await file.readFile();
    if (bytes.length !== content.size) {
      throw new ImageError(
        'IMAGE_TREE_INVALID',
        `${content.path} has ${bytes.length} bytes, not ${content.size}`,
      );
    }
    return bytes;
  } finally {
    await file.close();
  }
}
