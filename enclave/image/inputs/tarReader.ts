import { Tree, type TreeEntry } from '../tree.ts';
import { BLOCK, malformedTar, readTarHeader, readText, type TarHeader } from './tarHeader.ts';

/** Most entries of an archive: the package of a kernel has 2,000, that of Node 2,700. */
const MAX_ENTRIES = 50_000;
/** Longest path of Linux. */
const MAX_PATH_BYTES = 4096;
const REGULAR = ['0', '\0'];

/** What a header that stands before another one says about it. */
interface Override {
  path?: string;
  target?: string;
}

/**
 * Files, folders and links of a tar archive (POSIX ustar and pax, GNU long names). Devices, paths that leave the archive
 * and paths that stand there twice are refused; owners and times are not read. Files are views of the archive.
 *
 * Not the parser of `tar`, which models are imported with: strict, version 7 still takes an archive without an
 * end mark, entries behind it, and names that are not UTF-8.
 */
export function readTar(archive: Uint8Array): Tree {
  const tree = new Tree();
  let override: Override = {};
  let count = 0;
  for (let at = 0; ;) {
    if (at + BLOCK > archive.length) throw malformedTar('it ends without its end mark');
    const header = readTarHeader(archive.subarray(at, at + BLOCK));
    if (header === undefined) {
      if (archive.subarray(at).some((byte) => byte !== 0))
        throw malformedTar('there is something after its end');
      if (override.path ?? override.target) throw malformedTar('a long name has no entry');
      return tree;
    }
    if (++count > MAX_ENTRIES) throw malformedTar(`it has more than ${MAX_ENTRIES} entries`);
    const start = at + BLOCK;
    if (header.size > archive.length - start) throw malformedTar(`${header.name} goes beyond the end`);
    const content = archive.subarray(start, start + header.size);
    at = start + Math.ceil(header.size / BLOCK) * BLOCK;
    if (isAboutNext(header.type)) override = { ...override, ...readOverride(header.type, content) };
    else {
      addEntry(
        tree,
        { ...header, name: override.path ?? header.name, target: override.target ?? header.target },
        content,
      );
      override = {};
    }
  }
}

function isAboutNext(type: string): boolean {
  return type === 'L' || type === 'K' || type === 'x';
}

function readOverride(type: string, content: Uint8Array): Override {
  if (content.length > 4 * MAX_PATH_BYTES) throw malformedTar('a long name is too long');
  if (type === 'L') return { path: readText(content, 0, content.length) };
  if (type === 'K') return { target: readText(content, 0, content.length) };
  return readPax(content);
}

/** Records of `length key=value\n`, where the length counts itself. Times and owners are passed over. */
function readPax(content: Uint8Array): Override {
  const override: Override = {};
  for (let at = 0; at < content.length;) {
    const digits = /^([1-9]\d{0,5}) /.exec(Buffer.from(content.subarray(at, at + 8)).toString('latin1'))?.[1];
    const end = at + Number(digits ?? 0);
    if (digits === undefined || end > content.length || content[end - 1] !== 0x0a) {
      throw malformedTar('a pax record is damaged');
    }
    const record = readText(content, at + digits.length + 1, end - 1 - (at + digits.length + 1));
    const equals = record.indexOf('=');
    if (equals < 1) throw malformedTar('a pax record has no key');
    const key = record.slice(0, equals);
    const value = record.slice(equals + 1);
    if (key === 'path') override.path = value;
    else if (key === 'linkpath') override.target = value;
    else if (key === 'size' || key.startsWith('GNU.sparse'))
      throw malformedTar(`pax records of ${key} are not read`);
    at = end;
  }
  return override;
}

function addEntry(tree: Tree, header: TarHeader, content: Uint8Array): void {
  const path = toPath(header.name);
  const entry = toEntry(tree, header, content);
  if (path === '') {
    if (entry.kind !== 'folder') throw malformedTar('its root is no folder');
    return;
  }
  const before = tree.get(path);
  if (before !== undefined && (before.kind !== 'folder' || entry.kind !== 'folder')) {
    throw malformedTar(`${path} stands there twice`);
  }
  if (isBelowOther(tree, path)) throw malformedTar(`${path} stands below something that is no folder`);
  tree.add(path, entry);
}

/** Writing through a link would leave the folder that an archive is unpacked to. */
function isBelowOther(tree: Tree, path: string): boolean {
  for (let end = path.indexOf('/'); end > 0; end = path.indexOf('/', end + 1)) {
    const above = tree.get(path.slice(0, end));
    if (above !== undefined && above.kind !== 'folder') return true;
  }
  return false;
}

function toEntry(tree: Tree, { name, type, mode, target }: TarHeader, content: Uint8Array): TreeEntry {
  if (type === '5') return { kind: 'folder', mode: mode & 0o7777 };
  if (REGULAR.includes(type)) return { kind: 'file', mode: mode & 0o7777, content };
  if (target === '' || Buffer.byteLength(target) > MAX_PATH_BYTES)
    throw malformedTar(`${name} links to nothing`);
  if (type === '2') return { kind: 'link', target };
  if (type !== '1') throw malformedTar(`${name} is neither file, folder nor link`);
  const same = tree.get(toPath(target));
  if (same?.kind !== 'file') throw malformedTar(`${name} is to be the same file as one that is not there`);
  return same;
}

/** `./usr/bin/` becomes `usr/bin`; the root itself is empty. */
function toPath(name: string): string {
  const path = name.replace(/^(?:\.\/)+/, '').replace(/\/+$/, '');
  if (path === '.' || path === '') return '';
  const parts = path.split('/');
  const isPlain = parts.every((part) => part !== '' && part !== '.' && part !== '..');
  if (!isPlain || path.includes('\0') || Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw malformedTar(`${name.slice(0, 80)} is no path within it`);
  }
  return path;
}
