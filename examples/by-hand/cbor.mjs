// node cbor.mjs FILE: takes a file of CBOR (RFC 8949) apart into the folder FILE.d. An array or a map is a folder, with
// places or keys as names; a byte string is a file of its bytes; anything else is a file of its text. It checks no more
// than that the file ends where it should, and shares no code with the verifier: it is here so that you need not count
// bytes.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const [file] = process.argv.slice(2);
const bytes = readFileSync(file);
let at = 0;

function argument(info) {
  if (info < 24) return info;
  const size = 2 ** (info - 24);
  at += size;
  return Number(BigInt(`0x${bytes.subarray(at - size, at).toString('hex')}`));
}

/** Reads one item and writes it there; gives it back where it is a text or a number, which can be a key. */
function takeApart(path) {
  if (at >= bytes.length) throw new Error(`${file} ends too early`);
  const [major, info] = [bytes[at] >> 5, bytes[at] & 31];
  at++;
  if (major === 7) return write(path, String(info === 21));
  const n = argument(info);
  if (major === 0) return write(path, String(n));
  if (major === 1) return write(path, String(-1 - n));
  if (major === 2) return write(path, bytes.subarray(at, (at += n)));
  if (major === 3) return write(path, bytes.toString('utf8', at, (at += n)));
  if (major === 6) return takeApart(path); // A tag: what it is on.
  mkdirSync(path);
  for (let i = 0; i < n; i++) takeApart(`${path}/${major === 5 ? nameOf(takeApart()) : i}`);
}

function write(path, content) {
  if (path !== undefined) writeFileSync(path, content, { flag: 'wx' });
  return content;
}

/** The file is a stranger's: a key like `../x` would be written somewhere else. */
function nameOf(key) {
  if (!/^[-\w]+$/.test(key)) throw new Error(`${file} has a key that is no name of a file`);
  return key;
}

takeApart(`${file}.d`);
if (at !== bytes.length) throw new Error(`${file} does not end where it should`);
