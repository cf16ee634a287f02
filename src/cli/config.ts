import type { Command } from 'commander';
import { ConfigError } from '../config/errors.ts';
import { describeConfig, loadConfig, type ConfigLine, type LoadedConfig } from '../config/load.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { stdout, wrap } from './terminal.ts';

interface PrintFlags {
  readonly config?: string;
  readonly json?: boolean;
}

export function configCommand(): Command {
  const print = newCommand('print', 'Print every setting, its value, and where that comes from', [
    ['what this folder and environment give', 'vouchsafe config print'],
    ['of one file, for a script', 'vouchsafe config print --config production.json --json'],
  ])
    .option('--config <file>', 'configuration file (default: vouchsafe.config.json, where there is one)')
    .option('--json', 'print the settings as JSON')
    .action(runPrint);
  return newCommand('config', 'Show the configuration of the service').addCommand(print);
}

async function runPrint({ config: file, json = false }: PrintFlags): Promise<void> {
  const loaded = await readConfig(() => loadConfig({ file, environment: process.env }));
  const lines = describeConfig(loaded);
  if (json) stdout.json({ file: loaded.file ?? null, digest: digestOf(loaded), settings: lines });
  else printLines(lines, loaded);
}

/** A configuration that cannot be used is misuse; one that cannot be read is unreadable. */
export async function readConfig<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const exit = error.code === 'CONFIG_UNREADABLE' ? EXIT.unreadable : EXIT.misuse;
    throw new CliError(exit, `${error.code}: ${error.message}`, error.advice);
  }
}

function digestOf({ digest }: LoadedConfig): string {
  return Buffer.from(digest).toString('hex');
}

function printLines(lines: readonly ConfigLine[], loaded: LoadedConfig): void {
  const { c, columns } = stdout;
  stdout.line(`${c.bold('file')}    ${loaded.file ?? 'none'}`);
  stdout.line(`${c.bold('digest')}  ${digestOf(loaded)} ${c.dim('of the settings marked *')}`);
  const width = Math.max(...lines.map(({ name }) => name.length));
  for (const { name, value, origin, variable, measured, description } of lines) {
    stdout.line();
    const from = origin === 'default' ? c.dim('default') : c.yellow(origin);
    const shown = value === undefined ? c.dim('not set') : JSON.stringify(value);
    stdout.line(`${measured ? c.cyan('*') : ' '} ${c.bold(name.padEnd(width))}  ${shown}  ${from}`);
    for (const line of wrap(`${description} ${variable}`, columns - 4)) stdout.line(`    ${c.dim(line)}`);
  }
}
