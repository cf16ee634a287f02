import { fromHex, fromUtf8, toHex } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import { isFilePath, MAX_PATH_LENGTH, RENEWAL_HASHES, type FileEntry, type RenewalHash } from './renewal.ts';

const NEWLINE = 0x0a;
/** Digest in hex, a size of up to 16 digits, the path, and what stands between. */
const MAX_LINE_BYTES = 2 * 64 + 1 + 16 + 1 + MAX_PATH_LENGTH;
const LINE = /^([0-9a-f]+) (0|[1-9][0-9]{0,15}) (\S+)$/;

/**
 * One line of a list of files, `<digest hex> <size> <path>` and a newline. The list is what the tree of a segment is
 * made of; without its sizes it is what `sha512sum -c` reads.
 */
export function formatFileLine({ path, size, digest }: FileEntry): string {
  return `${toHex(digest)} ${size} ${path}\n`;
}

/** Reads a list line by line, each bounded; what is no line is refused. Order is the tree's to check. */
export function* readFileList(bytes: Uint8Array, hash: RenewalHash): Generator<FileEntry> {
  for (let start = 0, end; start < bytes.length; start = end + 1) {
    end = bytes.indexOf(NEWLINE, start);
    if (end < 0 || end - start > MAX_LINE_BYTES) {
      throw new Refusal('MALFORMED', `a list of files has no line at byte ${start}`);
    }
    yield parseFileLine(fromUtf8(bytes.subarray(start, end)), hash);
  }
}

export function parseFileLine(line: string, hash: RenewalHash): FileEntry {
  const [, digest = '', number, path = ''] = LINE.exec(line) ?? [];
  const size = Number(number);
  if (digest.length !== 2 * RENEWAL_HASHES[hash] || !Number.isSafeInteger(size) || !isFilePath(path)) {
    throw new Refusal('MALFORMED', 'a line of a list of files is not `<digest> <size> <path>`');
  }
  return { path, size, digest: fromHex(digest) };
}
