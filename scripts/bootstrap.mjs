import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { compile } from './compile.mjs';
import { withProgress } from './progress.mjs';
import { SetupError } from './setupError.mjs';

/** The repository. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

const OLDEST_NODE = [20, 19];
const LOCK = join(ROOT, 'package-lock.json');
const INSTALLED = join(ROOT, 'node_modules', '.package-lock.json');
const STAMP = join(ROOT, 'node_modules', '.vouchsafe-stamp');

const INSTALL_FLAGS = [
  '--no-save',
  '--ignore-scripts',
  '--no-audit',
  '--no-fund',
  '--include=dev',
  '--loglevel=error',
];

/** Makes a clone ready to run: the right Node, the locked packages, a current `dist`. */
export async function bootstrap() {
  checkNode();
  await installPackages();
  await compile(ROOT);
}

/** Runs `main`; a failure ends the process with a sentence, not a stack, and with status 1. */
export async function runMain(main) {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`${error instanceof SetupError ? error.message : error.stack}\n`);
    process.exitCode = 1;
  }
}

export function checkNode(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  throw new SetupError(
    `Vouchsafe needs Node ${oldestMajor}.${oldestMinor} or later and this is Node ${version}. ` +
      'Install a current Node from https://nodejs.org and start again.',
  );
}

/** Installs what the lock file names, when it or the runtime changed since the last time. */
export async function installPackages() {
  const lock = readFileSync(LOCK, 'utf8');
  const stamp = stampOf(lock);
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === stamp) return;
  const { packages } = JSON.parse(lock);
  checkLock(packages['']);
  const locked = lockedPackages(packages);
  if (existsSync(STAMP) || !isInstalled(locked)) await runInstall(locked);
  writeFileSync(STAMP, stamp);
}

function stampOf(lock) {
  const digest = createHash('sha256').update(lock).digest('hex');
  return `${digest} node ${process.versions.node.split('.')[0]} ${process.platform} ${process.arch}\n`;
}

/** The lock must be that of this `package.json`: nothing is resolved anew, so nothing unreviewed is installed. */
function checkLock(lockedRoot) {
  const declared = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  for (const group of ['dependencies', 'devDependencies', 'optionalDependencies']) {
    if (isDeepStrictEqual(declared[group] ?? {}, lockedRoot[group] ?? {})) continue;
    throw new SetupError(
      `package-lock.json does not match the ${group} of package.json. Run \`npm install\` and commit the lock file.`,
    );
  }
}

/** The packages of the lock file that this machine can use, by folder. */
function lockedPackages(packages) {
  const fits = (allowed, value) => allowed === undefined || allowed.includes(value);
  return Object.entries(packages)
    .filter(([folder]) => folder !== '')
    .filter(([, entry]) => fits(entry.os, process.platform) && fits(entry.cpu, process.arch))
    .map(([folder, entry]) => ({ folder, ...entry }));
}

/** True when npm's own record says that the locked packages lie in `node_modules`. */
function isInstalled(locked) {
  if (!existsSync(INSTALLED)) return false;
  const installed = JSON.parse(readFileSync(INSTALLED, 'utf8')).packages;
  return locked.every(
    ({ folder, integrity, optional }) => optional || installed[folder]?.integrity === integrity,
  );
}

async function runInstall(locked) {
  const onDisk = () => locked.filter(({ folder }) => existsSync(join(ROOT, folder, 'package.json'))).length;
  const detail = () => `${onDisk()} of ${locked.length}`;
  const { code, output } = await withProgress('Installing packages', runNpm, detail);
  if (code !== 0) throw new SetupError(explainNpmFailure(output));
  if (!isInstalled(locked))
    throw new SetupError('npm installed other packages than package-lock.json names.');
}

/**
 * Installs without any install script: nothing but the locked tarballs is fetched. `onnxruntime-node` would otherwise
 * load CUDA libraries in its script. `npm ci` would refuse a lock file made where the registry lacks the optional
 * packages of foreign platforms; `checkLock` and `isInstalled` stand for its strictness. Development packages come
 * along whatever NODE_ENV says: they build.
 */
function runNpm() {
  const cli = process.env.npm_execpath;
  const [command, first] = cli?.endsWith('npm-cli.js') ? [process.execPath, [cli]] : ['npm', []];
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...first, 'install', ...INSTALL_FLAGS], {
      cwd: ROOT,
      env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', () => {
      reject(new SetupError('npm was not found. It comes with Node: install both and start again.'));
    });
    child.on('close', (code) => resolve({ code, output }));
  });
}

const UNREACHABLE = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EIDLETIMEOUT/;

function explainNpmFailure(output) {
  const tail = output.trim().split('\n').slice(-15).join('\n');
  if (UNREACHABLE.test(output)) {
    return `${tail}\nnpm could not reach its registry. The first start needs a network (or an npm cache that is full); later ones do not.`;
  }
  return `${tail}\nnpm could not install the packages; its own message is above.`;
}
