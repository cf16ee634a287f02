// npm test [-- JEST ARGUMENT …]: makes the clone ready, then types, and tests with lint and format beside them.
// Arguments go to jest; `--quick` leaves lint and format out. The last line counts the tests.
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { bootstrap, ROOT, runMain } from './bootstrap.mjs';
import { SetupError } from './setupError.mjs';

const MODULES = join(ROOT, 'node_modules');
const CACHE = join(MODULES, '.cache');
const RESULTS = join(CACHE, 'vouchsafe-jest.json');

const SHARED_MEMORY = '/dev/shm';
/** More than all tests leave behind. */
const ROOM_BYTES = 6 * 2 ** 30;

/** Arguments of jest that say themselves how many workers there are. */
const WORKERS = /^(?:-w|--maxWorkers|-i$|--runInBand$)/;

const SOURCES = ['attestation', 'enclave', 'src'];
const CHECKS = [
  { title: 'Types of pages', run: ['typescript/bin/tsc', '-p', 'src/page'] },
  { title: 'Types of tests and scripts', run: ['typescript/bin/tsc', '-p', 'test'] },
];
/** They take the time that tests spend waiting: at the lowest priority, one after the other. */
const STYLE = [
  {
    title: 'Lint of the rest',
    run: lint('eslint', '.', ...SOURCES.map((folder) => `--ignore-pattern=${folder}/**`)),
  },
  { title: 'Lint of the sources', run: lint('eslint-sources', ...SOURCES) },
  {
    title: 'Format',
    run: [
      'prettier/bin/prettier.cjs',
      '--check',
      '.',
      '--log-level=warn',
      '--cache',
      `--cache-location=${join(CACHE, 'prettier', 'cache.json')}`,
    ],
  },
];

/** What runs beside, and whether no more of it is to be started. */
const aside = { child: undefined, isOver: false };

await runMain(async () => {
  const given = process.argv.slice(2);
  const quick = given.includes('--quick');
  const jestArguments = given.filter((argument) => argument !== '--quick');
  await bootstrap();
  mkdirSync(CACHE, { recursive: true });
  const beside = quick ? [] : startBeside(STYLE);
  for (const { title, run } of CHECKS) requireOk(title, await runStep(title, run));
  const codes = [await runJest(jestArguments)];
  for (const { title, ended } of beside) codes.push(await sayBeside(title, ended));
  sayCounts();
  process.exitCode = codes.every((code) => code === 0) ? 0 : 1;
});

function lint(cache, ...what) {
  return [
    'eslint/bin/eslint.js',
    ...what,
    '--max-warnings=0',
    '--cache',
    '--cache-strategy=content',
    `--cache-location=${join(CACHE, cache, '/')}`,
  ];
}

/** Runs one tool under a heading; resolves with its exit status. */
async function runStep(title, [tool, ...rest], nodeOptions = []) {
  process.stdout.write(`\n── ${title}\n`);
  const started = Date.now();
  const code = await runNode([...nodeOptions, join(MODULES, tool), ...rest]);
  sayEnd(title, code, Date.now() - started);
  return code;
}

function sayEnd(title, code, milliseconds) {
  const seconds = (milliseconds / 1000).toFixed(1);
  process.stdout.write(`── ${title}: ${code === 0 ? 'ok' : 'failed'} (${seconds} s)\n`);
}

function requireOk(title, code) {
  if (code === 0) return;
  stopBeside();
  throw new SetupError(`npm test stopped: ${title} failed.`);
}

function stopBeside() {
  aside.isOver = true;
  aside.child?.kill();
}

/** Runs tools in turn while others run; what they say is kept until it is asked for. */
function startBeside(steps) {
  let before = Promise.resolve();
  return steps.map(({ title, run }) => {
    const ended = before.then(() => (aside.isOver ? undefined : runQuietly(run)));
    before = ended;
    return { title, ended };
  });
}

async function sayBeside(title, ended) {
  process.stdout.write(`\n── ${title}\n`);
  const { code, said, milliseconds } = await ended;
  for (const chunk of said) process.stdout.write(chunk);
  sayEnd(title, code, milliseconds);
  return code;
}

function runQuietly([tool, ...rest]) {
  const started = Date.now();
  const said = [];
  return new Promise((resolve) => {
    const end = (code) => resolve({ code: code ?? 1, said, milliseconds: Date.now() - started });
    const child = spawn(process.execPath, [join(MODULES, tool), ...rest], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    aside.child = child;
    if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => said.push(chunk));
    child.on('error', (error) => {
      said.push(String(error));
      end(1);
    });
    child.on('close', end);
  });
}

function runNode(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: 'inherit' });
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}

async function runJest(args) {
  rmSync(RESULTS, { force: true });
  const workers = args.some((argument) => WORKERS.test(argument)) ? [] : ['--maxWorkers=2'];
  const jest = ['jest/bin/jest.js', '--json', `--outputFile=${RESULTS}`, ...workers, ...args];
  const folder = folderInMemory();
  if (folder !== undefined) process.env['TMPDIR'] = folder;
  // Jest runs ES modules through an experimental interface of Node; the warning about it says nothing new.
  const code = await runStep('Tests', jest, [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
  ]);
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  return code;
}

/** For files of tests, which are synchronised often; undefined where there is no room in memory or programs may not run. */
function folderInMemory() {
  try {
    const { bavail, bsize } = statfsSync(SHARED_MEMORY);
    if (bavail * bsize < ROOM_BYTES) return undefined;
    const folder = mkdtempSync(join(SHARED_MEMORY, 'vouchsafe-'));
    // As a folder for temporary files is: servers that tests start as another user look into it.
    chmodSync(folder, 0o1777);
    const program = join(folder, 'program');
    writeFileSync(program, '#!/bin/sh\n', { mode: 0o700 });
    if (spawnSync(program).status === 0) return folder;
    rmSync(folder, { recursive: true });
  } catch {
    // There is no such place here.
  }
  return undefined;
}

function sayCounts() {
  const { passed, failed, skipped } = countTests();
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
}

/** A test file that could not be loaded counts as one failure. */
function countTests() {
  let results;
  try {
    results = JSON.parse(readFileSync(RESULTS, 'utf8'));
  } catch {
    throw new SetupError('Jest left no results: it did not run to its end.');
  }
  return {
    passed: results.numPassedTests,
    failed: results.numFailedTests + results.numRuntimeErrorTestSuites,
    skipped: results.numPendingTests + results.numTodoTests,
  };
}
