import { ImageError } from '../errors.ts';

const MAGIC = '!<arch>\n';
const HEADER = 60;
/** A package of Debian has three members. */
const MAX_MEMBERS = 16;

/** Members of an ar archive as deb(5) has them: plain names, no tables of symbols or of long names. */
export function readAr(file: Uint8Array): ReadonlyMap<string, Uint8Array> {
  if (text(file, 0, MAGIC.length) !== MAGIC) throw malformed('it does not begin as one');
  const members = new Map<string, Uint8Array>();
  for (let at = MAGIC.length; at < file.length;) {
    if (members.size === MAX_MEMBERS) throw malformed(`it has more than ${MAX_MEMBERS} members`);
    const { name, size } = readHeader(file, at);
    const start = at + HEADER;
    if (size > file.length - start) throw malformed(`${name} goes beyond the end`);
    if (members.has(name)) throw malformed(`${name} stands there twice`);
    members.set(name, file.subarray(start, start + size));
    at = start + size;
    if (size % 2 === 1 && file[at++] !== 0x0a) throw malformed(`${name} is not padded`);
  }
  return members;
}

/** Name (16), time (12), owner (6), group (6), mode (8), size (10, decimal), mark (2). */
function readHeader(file: Uint8Array, at: number): { readonly name: string; readonly size: number } {
  if (file.length - at < HEADER || text(file, at + 58, 2) !== '`\n') throw malformed('a header is damaged');
  const name = text(file, at, 16).trimEnd().replace(/\/$/, '');
  const size = text(file, at + 48, 10).trimEnd();
  if (!/^[a-z0-9][a-z0-9._-]*$/.test(name) || !/^\d{1,10}$/.test(size)) {
    throw malformed('a header has no plain name or size');
  }
  return { name, size: Number(size) };
}

function text(file: Uint8Array, at: number, length: number): string {
  return Buffer.from(file.subarray(at, at + length)).toString('latin1');
}

function malformed(detail: string): ImageError {
  return new ImageError('IMAGE_INPUT_MALFORMED', `ar: ${detail}`);
}
