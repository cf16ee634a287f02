import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { parseCase, type CorpusCase } from './case.ts';
import { isGpuSchema, parseGpuCase, type GpuCase } from './gpu/case.ts';
import { isLaunchSchema, type LaunchCase, packagedFirmware, parseLaunchCase } from './launch/case.ts';
import { PACKAGED_FIRMWARE } from './launch/inputs.ts';

const CASE_FILE = 'case.json';
const ROOTS = 'roots';

/** Folders below this one that hold a case, by path. */
export function findCases(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path === CASE_FILE || path.endsWith(`${sep}${CASE_FILE}`))
    .map((path) => dirname(path))
    .sort();
}

/** Every case below the folder. Throws where one cannot be read. */
export function loadCases(folder: string): readonly CorpusCase[] {
  return findCases(folder).map((path) => loadCase(folder, path));
}

/** The case at a path that `findCases` gave. Throws where it cannot be read. */
export function loadCase(corpus: string, path: string): CorpusCase {
  const authorities = readAuthorities(rootsAbove(resolve(corpus, path)));
  return parseCase(readJson(corpus, path), readerOf(corpus, path), authorities);
}

/** Whether the case at the path is of the GPU corpus, whose cases have a form of their own. */
export function isGpuCase(corpus: string, path: string): boolean {
  return isGpuSchema(readJson(corpus, path));
}

/** The same for a case of the GPU corpus. */
export function loadGpuCase(corpus: string, path: string): GpuCase {
  return parseGpuCase(readJson(corpus, path), readerOf(corpus, path));
}

/** Whether the case at the path is of the corpus of launch measurements. */
export function isLaunchCase(corpus: string, path: string): boolean {
  return isLaunchSchema(readJson(corpus, path));
}

/** The same for a case of launch measurements, with firmware of a package where this machine has that very file. */
export function loadLaunchCase(corpus: string, path: string): LaunchCase {
  const launch = parseLaunchCase(readJson(corpus, path), readerOf(corpus, path));
  const packaged = packagedFirmware(launch);
  const file = packaged && `/${packaged.file}`;
  if (file === undefined || !existsSync(file)) return launch;
  const firmware = new Uint8Array(readFileSync(file));
  if (createHash('sha256').update(firmware).digest('hex') !== packaged?.sha256) return launch;
  return { ...launch, files: new Map([...launch.files, [PACKAGED_FIRMWARE, firmware]]) };
}

function readJson(corpus: string, path: string): unknown {
  return JSON.parse(readFileSync(join(corpus, path, CASE_FILE), 'utf8'));
}

function readerOf(corpus: string, path: string): (name: string) => Uint8Array {
  return (name) => new Uint8Array(readFileSync(fileWithin(corpus, join(corpus, path), name)));
}

/** A case names files of its own: `parseCase` refuses paths that lead out of its folder, and no link leaves the corpus. */
function fileWithin(corpus: string, folder: string, name: string): string {
  const file = realpathSync(join(folder, name));
  if (file.startsWith(realpathSync(corpus) + sep)) return file;
  throw new Error(`${name} leads out of the corpus`);
}

/** A corpus keeps the certificates that its cases share in `roots`, beside the folders of its vendors. */
function rootsAbove(from: string, levels = 3): string {
  const candidate = join(from, ROOTS);
  if (existsSync(candidate) || levels === 0) return candidate;
  return rootsAbove(dirname(from), levels - 1);
}

/** They complete chains; trusted are pinned keys alone. */
function readAuthorities(folder: string): readonly Uint8Array[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.der'))
    .sort()
    .map((name) => new Uint8Array(readFileSync(join(folder, name))));
}
