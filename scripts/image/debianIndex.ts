import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpackXz } from '../../enclave/image/inputs/xz.ts';
import type { Archive } from '../../enclave/image/inputs/pins.ts';

/** Keys of the archives, as Debian installs them. */
const KEYRINGS = ['debian-archive-keyring.gpg', 'debian-archive-trixie-automatic.gpg', 'debian-archive-trixie-security-automatic.gpg']; // prettier-ignore
const KEYS = '/usr/share/keyrings';
/** Unpacked indexes of trixie have 60 MB. */
const MAX_INDEX_BYTES = 256 * 1024 * 1024;

/** One paragraph of an index: names and values; a list keeps its lines. */
export type Paragraph = ReadonlyMap<string, string>;

export interface Index {
  readonly archive: Archive;
  readonly packages: readonly Paragraph[];
  readonly sources: readonly Paragraph[];
}

export interface IndexOptions {
  readonly mirror: string;
  readonly archive: Archive;
  readonly suite: string;
  /** For files in between. */
  readonly folder: string;
  readonly notice: (line: string) => void;
}

/** Packages and sources of a suite. Their digests are those of its InRelease, whose signature gpgv judges where it is. */
export async function readIndex({ mirror, archive, suite, folder, notice }: IndexOptions): Promise<Index> {
  const base = `${mirror}/${archive}/dists/${suite}`;
  const release = checkSignature(
    await get(`${base}/InRelease`),
    join(folder, `${archive}.InRelease`),
    notice,
  );
  const read = async (path: string): Promise<readonly Paragraph[]> => {
    const file = await get(`${base}/${path}`);
    if (createHash('sha256').update(file).digest('hex') !== digestIn(release, path)) {
      throw new Error(`${base}/${path} is not the file that InRelease names`);
    }
    return readParagraphs(Buffer.from(await unpackXz(file, MAX_INDEX_BYTES)).toString('utf8'));
  };
  const packages = await read('main/binary-amd64/Packages.xz');
  const sources = await read('main/source/Sources.xz');
  return { archive, packages, sources };
}

async function get(address: string): Promise<Buffer> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: status ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

/** The signed text. Without gpgv or keys nobody vouches for it, which is said. */
function checkSignature(file: Buffer, path: string, notice: (line: string) => void): string {
  writeFileSync(path, file);
  const keyrings = KEYRINGS.map((name) => join(KEYS, name)).filter((name) => existsSync(name));
  const args = [
    ...keyrings.flatMap((name) => ['--keyring', name]),
    '--status-fd',
    '2',
    '--output',
    '-',
    path,
  ];
  const { status, error, stdout, stderr } = spawnSync('gpgv', args, { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (error !== undefined || keyrings.length === 0) {
    notice(`${path}: no gpgv or no keys of Debian here; its signature was not checked`);
    return file.toString('utf8');
  }
  const isGood = stderr.includes('[GNUPG:] VALIDSIG ') && !stderr.includes('[GNUPG:] BADSIG ');
  if (!isGood || stdout === '')
    throw new Error(`${path} is not signed by Debian (gpgv ended with ${String(status)})`);
  return stdout;
}

/** In the list of SHA-256 digests: digest, size, path. */
export function digestIn(release: string, path: string): string {
  const list = release.slice(release.indexOf('\nSHA256:\n') + 1).split(/\n(?=\S)/)[0] ?? '';
  for (const line of list.split('\n')) {
    const [digest, , name] = line.trim().split(/ +/);
    if (name === path && digest !== undefined && /^[0-9a-f]{64}$/.test(digest)) return digest;
  }
  throw new Error(`InRelease does not name ${path}`);
}

/** Paragraphs of deb822(5). */
export function readParagraphs(text: string): readonly Paragraph[] {
  return text.split(/\n\n+/).map((paragraph) => {
    const fields = paragraph.split(/\n(?=[^\s])/).map((field): [string, string] => {
      const colon = field.indexOf(':');
      return [field.slice(0, colon), field.slice(colon + 1).trim()];
    });
    return new Map(fields);
  });
}
