import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import {
  diffImages,
  type ImageDiff,
  type Side,
  type ValueChange,
} from '../../enclave/image/release/diffImages.ts';
import { type FileLists, parseFileLists } from '../../enclave/image/release/fileLists.ts';
import { FILES } from '../../enclave/image/release/manifest.ts';
import { newCommand } from './command.ts';
import { EXIT } from './exit.ts';
import { isFolder, readInput } from './files.ts';
import { IMAGE_EXIT_HELP, imageAction } from './imageErrors.ts';
import { readImageManifest } from './imageInput.ts';
import { printable, stdout, wrap } from './terminal.ts';

const MAX_LIST_BYTES = 64 * 1024 * 1024;
/** Files of one layer that are printed; `--json` has all. */
const MAX_FILES = 20;

export function diffImageCommand(): Command {
  return newCommand('diff', 'Say which changed input changed which measurement', [
    ['two builds', 'vouchsafe image diff image-1.0 image-1.1'],
    ['two manifests, without lists of files', 'vouchsafe image diff old.json new.json --json'],
  ])
    .argument('<before>', 'output folder or manifest')
    .argument('<after>', 'output folder or manifest')
    .option('--json', 'print all differences as JSON')
    .addHelpText('after', IMAGE_EXIT_HELP)
    .action(runDiff);
}

async function runDiff(
  before: string,
  after: string,
  { json = false }: { readonly json?: boolean },
): Promise<void> {
  const diff = await imageAction(async () => diffImages(await readSide(before), await readSide(after)));
  if (json) stdout.json({ ...diff, files: diff.files ?? null });
  else printDiff(diff);
  process.exitCode = diff.measuresSame ? EXIT.accepted : EXIT.refused;
}

async function readSide(path: string): Promise<Side> {
  const manifest = await readImageManifest(path, []);
  return { manifest, files: await readLists(path) };
}

/** Beside a manifest alone there may be none. */
async function readLists(path: string): Promise<FileLists | undefined> {
  if (!(await isFolder(path))) return undefined;
  const file = join(path, FILES.fileLists);
  try {
    await access(file);
  } catch {
    return undefined;
  }
  return parseFileLists(await readInput(file, MAX_LIST_BYTES));
}

export function printDiff(diff: ImageDiff): void {
  section('parameters', diff.parameters);
  section(
    'inputs',
    diff.inputs.map(({ change, kind, name, before, after, uses }) => {
      const states = [before, after].map((state) => (state === null ? 'none' : state)).join(' -> ');
      return `${change} ${kind} ${name}: ${states} (${uses.join(', ') || 'no part'})`;
    }),
  );
  printFiles(diff);
  section(
    'parts',
    diff.parts.map(({ part, because }) =>
      [part, ...(because.length > 0 ? ['by', because.join('; ')] : [])].join(' '),
    ),
  );
  printValues(diff.values);
  const { c } = stdout;
  if (diff.measuresSame) stdout.line(`${c.green('✓')} launches of both measure the same`);
  else stdout.line(`${c.yellow('!')} ${diff.values.length} predicted values differ`);
}

function section(title: string, lines: readonly string[]): void {
  if (lines.length === 0) return;
  stdout.line(stdout.c.bold(title));
  for (const line of lines) printIndented(line);
}

function printIndented(text: string, indent = 2): void {
  const [first = '', ...rest] = wrap(printable(text), stdout.columns - indent - 2);
  stdout.line(`${' '.repeat(indent)}${first}`);
  for (const line of rest) stdout.line(`${' '.repeat(indent + 2)}${line}`);
}

function printFiles({ files }: ImageDiff): void {
  if (files === undefined) {
    section('files', [`not compared: ${FILES.fileLists} is not beside both manifests`]);
    return;
  }
  const lines = (['root', 'initrd', 'models'] as const).flatMap((layer) => {
    const changed = files.filter((file) => file.layer === layer);
    const shown = changed.slice(0, MAX_FILES).map(({ change, path }) => `${change} ${layer}: ${path}`);
    return changed.length > MAX_FILES ? [...shown, `${changed.length - MAX_FILES} more of ${layer}`] : shown;
  });
  section('files', lines);
}

function printValues(values: readonly ValueChange[]): void {
  for (const profile of new Set(values.map((value) => value.profile))) {
    stdout.line(stdout.c.bold(`values of ${printable(profile)}`));
    for (const { member, before, after, because } of values.filter((value) => value.profile === profile)) {
      printIndented(`${member} by ${because.join(', ') || 'what the firmware profile says'}`);
      stdout.line(stdout.c.dim(`    ${before ?? 'none'}`));
      stdout.line(stdout.c.dim(`    ${after ?? 'none'}`));
    }
  }
}
