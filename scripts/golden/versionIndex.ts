import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const GOLDEN_FOLDER = fileURLToPath(new URL('../../test/golden/', import.meta.url));
const INDEX = join(GOLDEN_FOLDER, 'index.json');
const PACKAGE = fileURLToPath(new URL('../../package.json', import.meta.url));
const VERSION = /^\d+\.\d+\.\d+$/;

/** The golden files of one version. */
export interface GoldenVersion {
  /** A released version's files stay as they are, for ever. */
  readonly released: boolean;
  /** SHA-256 by file name, hex. */
  readonly files: Readonly<Record<string, string>>;
}

export type GoldenIndex = Readonly<Record<string, GoldenVersion>>;

export function readIndex(): GoldenIndex {
  return existsSync(INDEX) ? (JSON.parse(readFileSync(INDEX, 'utf8')) as GoldenIndex) : {};
}

export function writeIndex(index: GoldenIndex): void {
  writeFileSync(INDEX, `${JSON.stringify(index, undefined, 2)}\n`);
}

export function packageVersion(): string {
  return (JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string }).version;
}

export function versionFolder(version: string): string {
  if (!VERSION.test(version)) throw new Error(`${version} is no version`);
  return join(GOLDEN_FOLDER, version);
}

/** Versions that have a folder. */
export function versionsOnDisk(): readonly string[] {
  return readdirSync(GOLDEN_FOLDER).filter((name) => VERSION.test(name));
}

/** SHA-256 of every file of a version as it lies there. */
export function digestsOf(version: string): Readonly<Record<string, string>> {
  const folder = versionFolder(version);
  const names = existsSync(folder) ? readdirSync(folder).sort() : [];
  return Object.fromEntries(names.map((name) => [name, sha256(readFileSync(join(folder, name)))]));
}

/** What pins a released version in the test: a digest over the names and digests of all its files. */
export function pinOf({ files }: GoldenVersion): string {
  const lines = Object.entries(files).map(([name, digest]) => `${digest}  ${name}\n`);
  return sha256(Buffer.from(lines.sort().join('')));
}

/** How the folders differ from the index; nothing where they are as they were minted. */
export function differences(index: GoldenIndex): readonly string[] {
  const versions = new Set([...Object.keys(index), ...versionsOnDisk()]);
  return [...versions].flatMap((version) => {
    const expected = index[version]?.files ?? {};
    const found = digestsOf(version);
    const names = new Set([...Object.keys(expected), ...Object.keys(found)]);
    return [...names].flatMap((name) => {
      if (expected[name] === found[name]) return [];
      const what = found[name] === undefined ? 'is not there' : 'is not as it was minted';
      return [`${version}/${name} ${expected[name] === undefined ? 'is not in the index' : what}`];
    });
  });
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
