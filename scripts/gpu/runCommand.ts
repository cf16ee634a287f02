import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type ModelSource, readStore } from '../../src/models/store.ts';
import { runCheck } from './check/check.ts';
import { tableOf } from './check/table.ts';
import { NOT_RUN } from './ended.ts';
import { readyCuda } from './machine/cudaReady.ts';
import { verifyPack } from './pack/digests.ts';

const FAILS = 1;
const MIB = 2 ** 20;

interface RunFlags {
  readonly provider: 'cpu' | 'cuda';
  readonly models: string;
  readonly only: readonly string[];
  readonly device: number;
  readonly threads: number;
  readonly seconds: number;
  readonly tokens: number;
  readonly streams: readonly number[];
  readonly cacheMib: number;
  readonly libraries: readonly string[];
  readonly nvidiaSmi?: string;
  readonly report?: string;
  readonly json?: boolean;
}

/** `root` has `dist`, `node_modules` and, by default, `models`: a clone, or an unpacked pack. */
export function runCommand(root: string): Command {
  return new Command('run')
    .description('Loads the models, compares them with the CPU, tries determinism and measures.')
    .addOption(new Option('--provider <name>', 'what to check').choices(['cuda', 'cpu']).default('cuda'))
    .option('--models <folder>', 'model store', join(root, 'models'))
    .option('--only <id>', 'a model of the store; may be repeated', collected, [])
    .option('--device <n>', 'number of the CUDA device', wholeNumber(0), 0)
    .option('--threads <n>', 'threads of an operator on the CPU', wholeNumber(1), availableParallelism())
    .option('--seconds <n>', 'seconds of each load', positive, 5)
    .option('--tokens <n>', 'tokens of each generation under load', wholeNumber(1), 128)
    .option('--streams <list>', 'generations side by side', streamList, [1, 4, 16, 64])
    .option('--cache-mib <n>', 'memory of one model’s caches', wholeNumber(1), 4096)
    .option('--libraries <folder>', 'folder of CUDA libraries; may be repeated', collected, [])
    .option('--nvidia-smi <file>', 'the program that tells of the device', undefined)
    .option('--report <file>', 'write the report as JSON after each step')
    .option('--json', 'print the report as JSON')
    .addHelpText('after', RUN_HELP)
    .action((flags: RunFlags) => run(root, flags));
}

const RUN_HELP = `
Exit codes:
  0 everything that was tried holds   1 something does not   3 it could not be run

Example:
  run --provider cuda --streams 1,64 --report gpu.json`;

async function run(root: string, flags: RunFlags): Promise<void> {
  const pack = await verifyPack(root);
  if (flags.provider === 'cuda') {
    const problems = await readyCuda(root, flags.libraries);
    if (problems.length > 0) {
      for (const line of problems) say(line);
      process.exitCode = NOT_RUN;
      return;
    }
  }
  const { report: path } = flags;
  const report = await runCheck({
    ...flags,
    models: await modelsOf(flags),
    childEntry: pathToFileURL(join(root, 'dist', 'src', 'engine', 'child.js')),
    cacheBytes: flags.cacheMib * MIB,
    nvidiaSmi: flags.nvidiaSmi,
    pack,
    onStep: (step, soFar) => {
      say(step);
      if (path !== undefined) writeFileSync(path, JSON.stringify(soFar, undefined, 2));
    },
  });
  const json = JSON.stringify(report, undefined, 2);
  if (path !== undefined) writeFileSync(path, `${json}\n`);
  process.stdout.write(flags.json ? `${json}\n` : tableOf(report));
  process.exitCode = report.holds ? 0 : FAILS;
}

async function modelsOf({ models: folder, only }: RunFlags): Promise<readonly ModelSource[]> {
  const { models, refused } = await readStore(resolve(folder));
  const [failure] = refused;
  if (failure) throw failure;
  const absent = only.find((id) => !models.some((model) => model.id === id));
  if (absent !== undefined) throw new Error(`${folder} has no model ${absent}`);
  return only.length === 0 ? models : models.filter(({ id }) => only.includes(id));
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

const collected = (value: string, before: readonly string[]): readonly string[] => [...before, value];

function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It takes a whole number from ${least} up.`);
  };
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It takes a positive number.');
}

const streamList = (text: string): readonly number[] => text.split(',').map(wholeNumber(1));
