import { Option, type Command } from 'commander';
import { ArchiveError, type ArchiveErrorCode } from '../archive/errors.ts';
import { openStorage, type Storage } from '../archive/openArchive.ts';
import type { ArchiveSource } from '../archive/source.ts';
import { storeSource } from '../archive/storeSource.ts';
import { loadConfig } from '../config/load.ts';
import { openDataFolder } from '../export/dataFolder.ts';
import { joinShared, openSharedFolder } from '../export/sharedFiles.ts';
import { readConfig } from './config.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';

/** Options of every command over the archive. */
export interface ArchiveFlags {
  readonly url?: string;
  readonly apiKey?: string;
  readonly config?: string;
  readonly data?: string;
  readonly json?: boolean;
}

export const ARCHIVE_EXITS = `
Exit codes:
  0 done   2 refused: a hold, the minimum retention, the key, or nothing of that kind is there
  4 unreachable service or unreadable archive   64 misuse
`;

/** For commands that a service answers: only its running instance can sign and log what is done. */
export function withService(command: Command): Command {
  return command
    .addOption(
      new Option('--url <url>', 'address of the service')
        .env('VOUCHSAFE_URL')
        .default('http://127.0.0.1:8080'),
    )
    .addOption(keyOption())
    .option('--json', 'print the result as JSON')
    .addHelpText('after', ARCHIVE_EXITS);
}

/** For commands that also read the archive of a service that is stopped. */
export function withArchive(command: Command): Command {
  return command
    .option('--url <url>', 'ask a service instead of reading the archive on this machine')
    .addOption(keyOption())
    .option('--config <file>', 'configuration file (default: vouchsafe.config.json, where there is one)')
    .option('--data <folder>', 'data folder (default: that of the configuration)')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', ARCHIVE_EXITS);
}

function keyOption(): Option {
  return new Option('--api-key <key>', 'key of a tenant, an auditor or the admin').env('VOUCHSAFE_API_KEY');
}

/** Works on the archive that the configuration names, on this machine. */
export async function onThisMachine<Result>(
  flags: ArchiveFlags,
  work: (storage: Storage) => Promise<Result>,
): Promise<Result> {
  const { config: file, data } = flags;
  const load = () => loadConfig({ file, environment: process.env, cli: { data: { directory: data } } });
  const { config } = await readConfig(load);
  return reporting(async () => {
    const storage = await openStorage(config, Date.now);
    try {
      return await work(storage);
    } finally {
      await storage.close();
    }
  });
}

/** What is exported: the archive where it is on, which has former instances of other machines, too, else the data folder. */
export async function openExported({ data }: { readonly data: string }): Promise<ArchiveSource> {
  const load = () => loadConfig({ environment: process.env, cli: { data: { directory: data } } });
  const { config } = await readConfig(load);
  if (!config.archive.enabled) return openDataFolder(data);
  return reporting(async () => {
    const storage = await openStorage(config, Date.now);
    const source = storeSource(storage);
    // Policies are in the store, renewals in the data folder.
    const shared = joinShared(...(source.shared ? [source.shared] : []), openSharedFolder(data));
    return { ...source, shared, close: () => storage.close() };
  });
}

/** One request to a service; throws what the service refuses. */
export async function askService(
  { url, apiKey }: ArchiveFlags,
  path: string,
  body?: unknown,
): Promise<unknown> {
  const headers = {
    ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
    ...(body !== undefined && { 'content-type': 'application/json' }),
  };
  const address = serviceUrl(url ?? '', path);
  let response: Response;
  let text: string;
  try {
    const method = body === undefined ? 'GET' : 'POST';
    response = await fetch(address, {
      method,
      headers,
      redirect: 'error',
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    text = await response.text();
  } catch {
    throw new CliError(EXIT.unreadable, `${address.origin} does not answer`, 'Check --url and the network.');
  }
  const value = parseAnswer(text);
  if (response.ok) return value;
  throw refusal(response.status, value);
}

function serviceUrl(base: string, path: string): URL {
  if (!URL.canParse(path, base)) throw new CliError(EXIT.misuse, `${base} is no address of a service`);
  return new URL(path, base);
}

function parseAnswer(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new CliError(EXIT.unreadable, 'the service gave no JSON');
  }
}

function refusal(status: number, value: unknown): CliError {
  const { error } = (typeof value === 'object' && value !== null ? value : {}) as {
    readonly error?: unknown;
  };
  const { code, message, advice } = (typeof error === 'object' && error !== null ? error : {}) as {
    readonly code?: unknown;
    readonly message?: unknown;
    readonly advice?: unknown;
  };
  const exit = status === 400 ? EXIT.misuse : status >= 500 ? EXIT.unreadable : EXIT.refused;
  const what = typeof code === 'string' ? `${code}: ${String(message)}` : `the service answered ${status}`;
  return new CliError(exit, what, typeof advice === 'string' ? advice : undefined);
}

const MISUSE: readonly ArchiveErrorCode[] = [
  'QUERY_INVALID',
  'HOLD_INVALID',
  'ACT_REFUSED',
  'POLICY_INVALID',
];
const REFUSED: readonly ArchiveErrorCode[] = [
  'NOT_FOUND',
  'UNDER_HOLD',
  'RETENTION_MINIMUM',
  'ALREADY_ERASED',
];

function exitOf(code: ArchiveErrorCode): ExitCode {
  if (MISUSE.includes(code)) return EXIT.misuse;
  return REFUSED.includes(code) ? EXIT.refused : EXIT.unreadable;
}

async function reporting<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error;
    throw new CliError(exitOf(error.code), `${error.code}: ${error.message}`, error.advice);
  }
}
