// npm test [-- JEST ARGUMENT …]: makes the clone ready, then types, lint, format and tests; stops at the first failure.
// Arguments go to jest; `--quick` leaves lint and format out. The last line counts the tests.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { bootstrap, ROOT, runMain } from './bootstrap.mjs';
import { SetupError } from './setupError.mjs';

const MODULES = join(ROOT, 'node_modules');
const CACHE = join(MODULES, '.cache');
const RESULTS = join(CACHE, 'vouchsafe-jest.json');

/** Arguments of jest that say themselves how many workers there are. */
const WORKERS = /^(?:-w|--maxWorkers|-i$|--runInBand$)/;

/** A worker keeps the modules of every file that it ran: beyond this it spends its time on collecting garbage. */
const FRESH_WORKERS = '--workerIdleMemoryLimit=1GB';

const TYPES = { title: 'Types of tests and scripts', run: ['typescript/bin/tsc', '-p', 'test'] };
const STYLE = [
  {
    title: 'Lint',
    run: [
      'eslint/bin/eslint.js',
      '.',
      '--max-warnings=0',
      '--cache',
      '--cache-strategy=content',
      `--cache-location=${join(CACHE, 'eslint', '/')}`,
    ],
  },
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

await runMain(async () => {
  const given = process.argv.slice(2);
  const quick = given.includes('--quick');
  const jestArguments = given.filter((argument) => argument !== '--quick');
  await bootstrap();
  mkdirSync(CACHE, { recursive: true });
  for (const step of [TYPES, ...(quick ? [] : STYLE)]) {
    if ((await runStep(step.title, step.run)) !== 0)
      throw new SetupError(`npm test stopped: ${step.title} failed.`);
  }
  process.exitCode = await runJest(jestArguments);
});

/** Runs one tool under a heading; resolves with its exit status. */
async function runStep(title, [tool, ...rest], nodeOptions = []) {
  process.stdout.write(`\n── ${title}\n`);
  const started = Date.now();
  const code = await runNode([...nodeOptions, join(MODULES, tool), ...rest]);
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  process.stdout.write(`── ${title}: ${code === 0 ? 'ok' : 'failed'} (${seconds} s)\n`);
  return code;
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
  const workers = args.some((argument) => WORKERS.test(argument)) ? [] : ['--maxWorkers=2', FRESH_WORKERS];
  const jest = ['jest/bin/jest.js', '--json', `--outputFile=${RESULTS}`, ...workers, ...args];
  // Jest runs ES modules through an experimental interface of Node; the warning about it says nothing new.
  const code = await runStep('Tests', jest, [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
  ]);
  const { passed, failed, skipped } = countTests();
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  return code;
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
