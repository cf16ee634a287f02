import { createWriteStream } from 'node:fs';
import type { Command } from 'commander';
import { exportArchive, type ExportSummary } from '../archive/export/exportArchive.ts';
import { importArchive } from '../archive/export/importArchive.ts';
import { createFolderSink, createTarSink, type ExportSink } from '../archive/export/sinks.ts';
import { openDataFolder } from '../export/dataFolder.ts';
import { openExportAt } from '../export/open.ts';
import type { ArchiveSource } from '../export/source.ts';
import { asCliError } from './auditOptions.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { ByteProgress, sizeText } from './byteProgress.ts';
import { printable, stderr, stdout, type Terminal } from './terminal.ts';

interface ExportFlags {
  readonly data: string;
  readonly from?: string;
  readonly to?: string;
  readonly out: string;
  readonly json?: boolean;
}

/** Opens what is exported: the data folder, unless the archive's own store is given. */
export type OpenSource = (flags: ExportFlags) => Promise<ArchiveSource> | ArchiveSource;

const EXPORT_EXAMPLES = [
  ['everything, as one file', 'vouchsafe archive export --data data --out export.tar'],
  [
    'one quarter, as a folder; run again, it goes on',
    'vouchsafe archive export --from 2026-07-01 --to 2026-09-30 --out q3',
  ],
  ['through a pipe', 'vouchsafe archive export --data data --out - | ssh auditor "cat > export.tar"'],
] as const;

export function archiveExportCommand(open: OpenSource = ({ data }) => openDataFolder(data)): Command {
  return newCommand('export', 'Write everything that an auditor needs to one file or folder', EXPORT_EXAMPLES)
    .option('--data <folder>', 'data folder of the service, running or stopped', 'data')
    .option('--from <time>', 'whole epochs from this time on, by the guests’ clocks, ISO 8601')
    .option('--to <time>', 'and up to this time; a day alone means its end')
    .requiredOption('--out <folder|file.tar|->', 'where to; `-` is the standard output')
    .option('--json', 'print what was written as JSON')
    .action(async (flags: ExportFlags) => {
      try {
        await runExport(flags, open);
      } catch (error) {
        throw asCliError(error);
      }
    });
}

async function runExport(flags: ExportFlags, open: OpenSource): Promise<void> {
  const range = { from: timeOf('--from', flags.from, false), to: timeOf('--to', flags.to, true) };
  const source = await open(flags);
  const bar = new ByteProgress(stderr, 'Exporting');
  try {
    const sink = await sinkOf(flags.out);
    const summary = await exportArchive(source, range, sink, (bytes) => {
      bar.add(bytes);
    });
    bar.end();
    // The standard output may be the export itself.
    const terminal = flags.out === '-' ? stderr : stdout;
    if (flags.json) terminal.json(summary);
    else printSummary(terminal, summary, flags.out);
  } finally {
    bar.end();
    await source.close();
  }
}

async function sinkOf(out: string): Promise<ExportSink> {
  if (out === '-') return createTarSink(process.stdout);
  if (!out.endsWith('.tar')) return createFolderSink(out);
  const stream = createWriteStream(out);
  await new Promise<void>((resolve, reject) => {
    stream.once('open', () => {
      resolve();
    });
    stream.once('error', (error: NodeJS.ErrnoException) => {
      reject(new CliError(EXIT.misuse, `--out: ${out} cannot be written: ${error.code ?? 'unknown error'}`));
    });
  });
  return createTarSink(stream);
}

const DAY_MS = 86_400_000;

function timeOf(option: string, given: string | undefined, isEnd: boolean): number | undefined {
  if (given === undefined) return undefined;
  const time = /^\d{4}-\d{2}-\d{2}/.test(given) ? Date.parse(given) : NaN;
  if (Number.isNaN(time))
    throw new CliError(EXIT.misuse, `${option} is a time such as 2026-11-21 or 2026-11-21T12:00:00Z`);
  return isEnd && /^\d{4}-\d{2}-\d{2}$/.test(given) ? time + DAY_MS - 1 : time;
}

function printSummary(
  terminal: Terminal,
  { bytes, digest, files, instances }: ExportSummary,
  out: string,
): void {
  const { c } = terminal;
  terminal.line(`${c.green('✓')} ${files} files, ${sizeText(bytes)}, in ${printable(out)}`);
  for (const { entries, instance, size } of instances) {
    const span = entries
      ? `entries ${entries[0]} to ${entries[1]} of ${size}`
      : `none of its ${size} entries`;
    terminal.line(`  instance ${instance}: ${span}`);
  }
  terminal.line(c.dim(`  manifest ${digest}`));
  terminal.line('Give it away with the policy: `vouchsafe audit` needs nothing else.');
}

export function archiveImportCommand(): Command {
  return newCommand('import', 'Put an export back under a data folder', [
    ['what was exported', 'vouchsafe archive import export.tar --data restored'],
  ])
    .argument('<export>', 'tar file or folder that `archive export` wrote')
    .requiredOption('--data <folder>', 'folder that gets the instances; other bytes are never overwritten')
    .action(async (path: string, { data }: { readonly data: string }) => {
      try {
        await runImport(path, data);
      } catch (error) {
        throw asCliError(error);
      }
    });
}

async function runImport(path: string, data: string): Promise<void> {
  const reader = await openExportAt(path);
  const bar = new ByteProgress(stderr, 'Importing');
  bar.expect(reader.manifest.files.reduce((total, { size }) => total + size, 0));
  try {
    const { present, written } = await importArchive(reader, data, (bytes) => {
      bar.add(bytes);
    });
    bar.end();
    stdout.line(`${stdout.c.green('✓')} ${written} files written, ${present} were there already`);
  } finally {
    bar.end();
    await reader.close();
  }
}
