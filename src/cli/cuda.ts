import type { Command } from 'commander';
import { CudaError } from '../engine/cuda/errors.ts';
import { installCuda, type Installed } from '../engine/cuda/install.ts';
import { CUDA_RELEASE } from '../engine/cuda/release.ts';
import { cudaStatus, type CudaStatus, installedRuntime } from '../engine/cuda/status.ts';
import { libraryFolder } from '../engine/runtime.ts';
import { newCommand } from './command.ts';
import { progressBar } from './cudaProgress.ts';
import { CliError, EXIT } from './exit.ts';
import { stderr, stdout, wrap } from './terminal.ts';

interface InstallFlags {
  readonly from?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const CUDA_EXIT_HELP = `
Exit codes:
  0 CUDA is installed (install), and loads (status)   2 refused: not what is pinned
  3 installed, and something else of the machine is missing (status)
  4 unreachable or unreadable   64 misuse
`;

export function cudaCommand(): Command {
  const install = newCommand(
    'install',
    'Put the CUDA libraries beside onnxruntime-node, each by its digest',
    [
      ['from the registry that npm is set to, some 180 MB', 'vouchsafe cuda install'],
      [
        'from a file that was carried here',
        `vouchsafe cuda install --from ${CUDA_RELEASE.archives[0]?.name ?? 'FILE'}`,
      ],
      ['fetch and check only', 'vouchsafe cuda install --dry-run'],
    ],
  )
    .option('--from <file|url>', 'archive, or its address on a mirror (default: `npm pack`)')
    .option('--dry-run', 'fetch and check everything, and put nothing in place')
    .option('--json', 'print what was done as JSON')
    .addHelpText('after', CUDA_EXIT_HELP)
    .action(runInstall);
  const status = newCommand('status', 'Say which CUDA libraries are there, and what is missing', [
    ['what this machine lacks', 'vouchsafe cuda status'],
  ])
    .option('--json', 'print the status as JSON')
    .addHelpText('after', CUDA_EXIT_HELP)
    .action(runStatus);
  return newCommand('cuda', 'Install and show the CUDA libraries of the engine')
    .addCommand(install)
    .addCommand(status);
}

async function runInstall({ from, dryRun = false, json = false }: InstallFlags): Promise<void> {
  const folder = libraryFolder();
  const bar = progressBar(stderr);
  const interrupted = new AbortController();
  const onSignal = (): void => {
    interrupted.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  let done: Installed;
  try {
    const { onProgress } = bar;
    const { signal } = interrupted;
    done = await installCuda({ folder, runtime: installedRuntime(folder), from, dryRun, onProgress, signal });
  } catch (error) {
    throw asCliError(error);
  } finally {
    bar.end();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
  const status = dryRun ? undefined : await cudaStatus();
  if (json) stdout.json({ folder, dryRun, ...done, status: status ?? null });
  else printInstalled(done, folder, dryRun, status);
}

function printInstalled(
  { installed, replaced, archive }: Installed,
  folder: string,
  dryRun: boolean,
  status: CudaStatus | undefined,
): void {
  const { c } = stdout;
  if (installed.length === 0)
    stdout.line(`${c.green('✓')} the pinned libraries are there already: ${folder}`);
  for (const name of installed) {
    const how = replaced.includes(name) ? ', in the place of another file' : '';
    stdout.line(`${c.green('✓')} ${name} ${dryRun ? 'can be installed' : 'installed'}${how}`);
  }
  if (archive !== undefined) stdout.line(c.dim(`  from ${archive}${dryRun ? '' : `, into ${folder}`}`));
  if (status) printNeeds(status);
}

async function runStatus({ json = false }: { readonly json?: boolean }): Promise<void> {
  const status = await cudaStatus();
  if (json) stdout.json({ loads: status.missing === undefined, ...status, missing: status.missing ?? null });
  else printStatus(status);
  process.exitCode = status.missing === undefined ? EXIT.accepted : EXIT.notJudged;
}

function printStatus(status: CudaStatus): void {
  const { c } = stdout;
  const { folder, runtime, wantedRuntime, libraries } = status;
  stdout.line(c.bold(folder));
  const fits = runtime === wantedRuntime;
  const versions = `onnxruntime-node ${runtime}${fits ? '' : `, the libraries are for ${wantedRuntime}`}`;
  stdout.line(`  ${fits ? c.green('✓') : c.red('✗')} ${versions}`);
  for (const { name, state } of libraries) {
    const said = { pinned: '', other: ': not the pinned library', absent: ': not installed' }[state];
    stdout.line(`  ${state === 'pinned' ? c.green('✓') : c.red('✗')} ${name}${said}`);
  }
  if (libraries.some(({ state }) => state !== 'pinned')) {
    stdout.line(c.cyan('    `vouchsafe cuda install` puts the pinned ones there'));
  }
  printNeeds(status);
}

/** What else the machine needs, which no package of this program brings. */
function printNeeds({ needs, missing }: CudaStatus): void {
  const { c, columns } = stdout;
  stdout.line();
  stdout.line(c.bold('the machine'));
  for (const { name, required, advice, found } of needs) {
    const mark = found ? c.green('✓') : required ? c.red('✗') : c.yellow('!');
    stdout.line(`  ${mark} ${name}${found ? '' : required ? ' is missing' : ' is missing (optional)'}`);
    if (!found) for (const line of wrap(advice, columns - 4)) stdout.line(`    ${c.cyan(line)}`);
  }
  stdout.line();
  if (missing) stdout.line(`${c.red('CUDA does not load:')} ${missing.file} ${missing.detail}`);
  else stdout.line(`${c.green('CUDA loads.')} Serve with the provider cuda or auto.`);
}

const REFUSED = ['ARCHIVE_UNKNOWN', 'ARCHIVE_MALFORMED', 'LIBRARY_UNKNOWN'];
const MISUSE = ['PLATFORM_UNSUPPORTED', 'RUNTIME_MISMATCH'];

function asCliError(error: unknown): unknown {
  if (!(error instanceof CudaError)) return error;
  const { code, message, advice } = error;
  const exit = REFUSED.includes(code) ? EXIT.refused : MISUSE.includes(code) ? EXIT.misuse : EXIT.unreadable;
  return new CliError(exit, `${code}: ${message}`, advice);
}
