import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { buildPages, listPages, pageFile } from './pages.mjs';
import { withProgress } from './progress.mjs';
import { SetupError } from './setupError.mjs';

const FOLDERS = ['attestation', 'enclave', 'src'];
const CONFIGS = ['package.json', 'package-lock.json', 'tsconfig.base.json', 'tsconfig.json'];
/** What the compiler writes for one source file. */
const OUTPUTS = ['.js', '.js.map', '.d.ts'];
/** Files of pages go into the pages, and are neither compiled nor copied on their own. */
const PAGES = 'src/page/';
/** What builds is part of what is built. */
const BUILDERS = ['scripts/compile.mjs', 'scripts/pages.mjs'];

/**
 * Brings `dist` up to date with the sources under `root`: compiles, copies the files that the program reads beside
 * its code, and removes what no source stands behind. Does nothing when nothing changed.
 */
export async function compile(root) {
  const dist = join(root, 'dist');
  const stampFile = join(dist, '.vouchsafe-stamp');
  const sources = FOLDERS.flatMap((folder) => listFiles(root, folder)).sort();
  const pages = listPages(root);
  const expected = new Set([...expectedOutputs(sources), ...pages.map(pageFile)]);
  const stamp = digestOf(root, sources);
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp && isComplete(dist, expected))
    return;
  rmSync(stampFile, { force: true });
  removeStale(dist, expected);
  copyAssets(root, sources);
  const { code, output } = await withProgress('Compiling', () => compileAll(root, dist, expected, pages));
  if (code !== 0) throw new SetupError(`${output.trim()}\nThe sources do not compile; see above.`);
  writeFileSync(stampFile, stamp);
}

/** Code and pages at once: neither needs the other. */
async function compileAll(root, dist, expected, pages) {
  const built = buildPages(root, dist, pages).then(
    () => '',
    (error) => error.message,
  );
  const compiled = await compileCode(root, dist, new Set([...expected].filter((file) => !isPage(file))));
  const problem = await built;
  return problem === ''
    ? compiled
    : { code: compiled.code || 1, output: `${compiled.output}\nThe pages: ${problem}` };
}

async function compileCode(root, dist, expected) {
  const first = await runCompiler(root);
  if (first.code !== 0 || isComplete(dist, expected)) return first;
  // The compiler trusts its own records and does not write a lost file again.
  for (const record of ['attestation', 'service'])
    rmSync(join(dist, `${record}.tsbuildinfo`), { force: true });
  return await runCompiler(root);
}

function runCompiler(root) {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [tsc, '-b', '--pretty', 'false'], { cwd: root });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

/** The files below `folder`, as paths from `root`. */
function listFiles(root, folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory() ? listFiles(root, path) : [path];
  });
}

function isPage(file) {
  return file.startsWith(PAGES);
}

function isCode(file) {
  return file.endsWith('.ts') && !file.endsWith('.d.ts') && !isPage(file);
}

/** A file that code may read beside itself. */
function isAsset(file) {
  return !file.endsWith('.ts') && !file.endsWith('.md') && !file.endsWith('/tsconfig.json') && !isPage(file);
}

function expectedOutputs(sources) {
  const compiled = sources
    .filter(isCode)
    .flatMap((file) => OUTPUTS.map((ending) => file.slice(0, -'.ts'.length) + ending));
  return new Set([...compiled, ...sources.filter(isAsset)]);
}

function isComplete(dist, expected) {
  return [...expected].every((file) => existsSync(join(dist, file)));
}

function digestOf(root, sources) {
  const hash = createHash('sha256').update(process.version);
  for (const file of [...CONFIGS, ...BUILDERS, ...sources.filter((source) => !source.endsWith('.md'))]) {
    const bytes = readFileSync(join(root, file));
    hash.update(`${file}\0${bytes.length}\0`).update(bytes);
  }
  return `${hash.digest('hex')}\n`;
}

function removeStale(dist, expected) {
  for (const folder of FOLDERS.filter((name) => existsSync(join(dist, name)))) {
    const stale = listFiles(dist, folder).filter((file) => !expected.has(file));
    for (const file of stale) rmSync(join(dist, file), { force: true });
  }
}

function copyAssets(root, sources) {
  for (const file of sources.filter(isAsset)) {
    const target = join(root, 'dist', file);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(root, file), target);
  }
}
