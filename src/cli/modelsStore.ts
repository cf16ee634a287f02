import type { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { ModelError } from '../models/errors.ts';
import { HostingError, type HostingErrorCode } from '../models/hostingErrors.ts';
import { readConfig } from './config.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';
import { readInput } from './files.ts';

/** Options of every command that uses the store. */
export interface StoreFlags {
  readonly config?: string;
  readonly models?: string;
  readonly json?: boolean;
}

export function withStoreOptions(command: Command): Command {
  return command
    .option('--models <folder>', 'folder of the models (default: that of the configuration)')
    .option('--config <file>', 'configuration file (default: vouchsafe.config.json, where there is one)')
    .option('--json', 'print the result as JSON');
}

/** The configuration's section on models, with the folder that the command line names. */
export async function storeConfig({ config: file, models }: StoreFlags): Promise<Config['models']> {
  const load = () => loadConfig({ file, environment: process.env, cli: { models: { directory: models } } });
  return (await readConfig(load)).config.models;
}

const MISUSE: readonly HostingErrorCode[] = [
  'SOURCE_INVALID',
  'RELEASE_NAME_INVALID',
  'ALIAS_INVALID',
  'INSECURE_ADDRESS',
  'SIGNER_INVALID',
];
const REFUSED: readonly HostingErrorCode[] = [
  'RELEASE_EXISTS',
  'RELEASE_IN_USE',
  'QUOTA_EXCEEDED',
  'DIGEST_MISMATCH',
  'PATH_REFUSED',
  'ENTRY_REFUSED',
  'PATH_TWICE',
  'TOO_MANY_FILES',
  'SIGNATURE_MISSING',
  'SIGNATURE_INVALID',
  'SIGNATURE_UNSUPPORTED',
  'SIGNATURE_COVERAGE',
];

function exitOf(code: HostingErrorCode): ExitCode {
  if (MISUSE.includes(code)) return EXIT.misuse;
  return REFUSED.includes(code) ? EXIT.refused : EXIT.unreadable;
}

/** Says what a store, a source or a model is refused for. */
export async function reporting<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof HostingError) {
      throw new CliError(exitOf(error.code), `${error.code}: ${error.message}`, error.advice);
    }
    if (error instanceof ModelError) {
      const exit = error.code === 'STORE_UNREADABLE' ? EXIT.unreadable : EXIT.refused;
      throw new CliError(exit, `${error.code}: ${error.message}`, error.advice);
    }
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (typeof code !== 'string' || typeof syscall !== 'string') throw error;
    throw new CliError(EXIT.unreadable, `${code}: ${(error as Error).message}`, SYSTEM_ADVICE[code]);
  }
}

const SYSTEM_ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'The disk is full. Remove releases, or use another folder with --models.',
  EACCES: 'This user may not do that. Check the permissions of the folder.',
  EROFS: 'The folder is read-only. Use another one with --models.',
};

/** PEM texts: those of the files, else those of the configuration. */
export async function signingTexts(
  files: readonly string[] | undefined,
  { signing }: Config['models'],
): Promise<readonly string[]> {
  if (!files || files.length === 0) return signing;
  return Promise.all(files.map(async (path) => Buffer.from(await readInput(path)).toString('utf8')));
}
