import { fromUtf8, isZero } from '../../../attestation/bytes/bytes.ts';
import { ImageError } from '../errors.ts';
import { Tree, type TreeEntry } from '../tree.ts';
import {
  CPIO_HEADER_BYTES,
  CPIO_KINDS,
  CPIO_MAGIC,
  CPIO_TRAILER,
  MAX_CPIO_BYTES,
  MAX_CPIO_NAME_BYTES,
  upToFour,
} from './cpio.ts';

const KIND_MASK = 0o170000;
/** Numbers of the header that `buildCpio` writes as they are here: owners, links, times, devices, check. */
const FIXED = { 2: 0, 3: 0, 4: 1, 5: 0, 7: 0, 8: 0, 9: 0, 10: 0, 12: 0 } as const;

interface Record {
  readonly name: string;
  readonly mode: number;
  readonly content: Uint8Array;
  readonly end: number;
}

/** Reads an archive as `buildCpio` writes it. Refuses as `IMAGE_PART_MALFORMED` every other. */
export function readCpio(archive: Uint8Array): Tree {
  if (archive.length > MAX_CPIO_BYTES) throw malformed(`${archive.length} bytes`);
  const tree = new Tree();
  let last = '';
  for (let offset = 0, inode = 1; ; inode += 1) {
    const { name, mode, content, end } = readRecord(archive, offset, inode);
    offset = end;
    if (name === CPIO_TRAILER) break;
    if (Buffer.compare(Buffer.from(name), Buffer.from(last)) <= 0) throw malformed(`${name} is out of order`);
    last = name;
    add(tree, name, toEntry(name, mode, content));
  }
  return tree;
}

function readRecord(archive: Uint8Array, start: number, inode: number): Record {
  const nameStart = start + CPIO_HEADER_BYTES;
  if (nameStart > archive.length) throw malformed('it ends in a header');
  const header = String.fromCharCode(...archive.subarray(start, nameStart));
  if (!/^070701[0-9a-f]{104}$/.test(header)) throw malformed('a header is not of its format');
  const number = (index: number): number => {
    const at = CPIO_MAGIC.length + 8 * index;
    return Number.parseInt(header.slice(at, at + 8), 16);
  };
  const [mode, size, nameBytes] = [number(1), number(6), number(11)];
  for (const [index, value] of Object.entries(FIXED)) {
    if (number(Number(index)) !== value) throw malformed('an entry has an owner, a time or a device');
  }
  if (nameBytes < 2 || nameBytes > MAX_CPIO_NAME_BYTES) throw malformed(`a name of ${nameBytes} bytes`);
  const contentStart = start + upToFour(CPIO_HEADER_BYTES + nameBytes);
  const contentEnd = contentStart + size;
  const end = contentStart + upToFour(size);
  if (end > archive.length) throw malformed('an entry leads out of it');
  const name = readText(archive.subarray(nameStart, nameStart + nameBytes - 1));
  if (!isZero(archive.subarray(nameStart + nameBytes - 1, contentStart)) || name.includes('\0')) {
    throw malformed('a name does not end as it should');
  }
  if (!isZero(archive.subarray(contentEnd, end))) throw malformed('something stands between two entries');
  checkTrailer(name, { inode, mode, size }, { is: number(0), end, length: archive.length });
  return { name, mode, content: archive.subarray(contentStart, contentEnd), end };
}

function checkTrailer(
  name: string,
  { inode, mode, size }: { readonly inode: number; readonly mode: number; readonly size: number },
  { is, end, length }: { readonly is: number; readonly end: number; readonly length: number },
): void {
  if (name !== CPIO_TRAILER) {
    if (is !== inode) throw malformed('inodes are out of order');
    return;
  }
  if (is !== 0 || mode !== 0 || size !== 0 || end !== length)
    throw malformed('something stands behind its end');
}

function toEntry(name: string, mode: number, content: Uint8Array): TreeEntry {
  const kind = mode & KIND_MASK;
  const permissions = mode & 0o7777;
  if (mode > 0o177777) throw malformed(`${name} has an impossible mode`);
  if (kind === CPIO_KINDS.file) return { kind: 'file', mode: permissions, content: Uint8Array.from(content) };
  if (kind === CPIO_KINDS.folder && content.length === 0) return { kind: 'folder', mode: permissions };
  if (kind === CPIO_KINDS.link && permissions === 0o777 && content.length < MAX_CPIO_NAME_BYTES) {
    return { kind: 'link', target: readText(content) };
  }
  throw malformed(`${name} is neither file, folder nor link`);
}

/** An entry before the folder above it is refused: the kernel would not unpack it. */
function add(tree: Tree, name: string, entry: TreeEntry): void {
  const above = name.lastIndexOf('/');
  if (above > 0 && tree.get(name.slice(0, above))?.kind !== 'folder') {
    throw malformed(`${name} stands in no folder`);
  }
  try {
    tree.add(name, entry);
  } catch (cause) {
    throw new ImageError('IMAGE_PART_MALFORMED', `${JSON.stringify(name)} is no path`, { cause });
  }
}

function readText(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch (cause) {
    throw new ImageError('IMAGE_PART_MALFORMED', 'a name of the archive is no UTF-8', { cause });
  }
}

function malformed(why: string): ImageError {
  return new ImageError('IMAGE_PART_MALFORMED', `the initrd is no archive of this builder: ${why}`);
}
