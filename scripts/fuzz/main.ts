// npm run fuzz -- [--runs N] [PATTERN …]: the property tests with many more runs and fresh seeds.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DEFAULT_RUNS = 100_000;

const program = new Command('npm run fuzz --')
  .description('Runs every property test with fresh seeds; a failure prints the seed that found it.')
  .option('--runs <n>', 'runs of each property', String(DEFAULT_RUNS))
  .argument('[pattern...]', 'only test files whose path contains one of these')
  .addHelpText('after', '\nExample:\n  npm run fuzz -- --runs 5000 cbor x509')
  .parse();

const runs = Number(program.opts<{ runs: string }>().runs);
if (!Number.isSafeInteger(runs) || runs < 1) program.error('--runs takes a positive whole number');

const files = propertyTests().filter(
  (file) => program.args.length === 0 || program.args.some((pattern) => file.includes(pattern)),
);
if (files.length === 0) program.error('no property test matches');
process.stdout.write(`${files.length} files with property tests, ${runs} runs each\n`);

const jest = join(ROOT, 'node_modules/jest/bin/jest.js');
const child = spawn(
  process.execPath,
  ['--experimental-vm-modules', jest, '--maxWorkers=2', '--testTimeout=7200000', ...files],
  { cwd: ROOT, stdio: 'inherit', env: { ...process.env, VOUCHSAFE_FUZZ_RUNS: String(runs) } },
);
child.on('close', (code) => {
  process.exitCode = code ?? 1;
});

/** Test files that take their number of runs from outside. */
function propertyTests(): readonly string[] {
  return readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => join('test', file))
    .filter((file) => readFileSync(join(ROOT, file), 'utf8').includes('propertyRuns('));
}
