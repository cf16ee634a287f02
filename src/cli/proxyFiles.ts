import { homedir } from 'node:os';
import { join } from 'node:path';
import { FolderReceiptStore } from '../client/folderReceiptStore.ts';
import type { ReceiptStore } from '../client/receiptStore.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { prepareFolder } from './saved.ts';

/** Where receipts are kept unless the caller says it: the folder of this user's data, as the system has it. */
export function defaultArchive(
  platform: NodeJS.Platform = process.platform,
  environment: NodeJS.ProcessEnv = process.env,
  home: string = homedir(),
): string {
  const { XDG_DATA_HOME, LOCALAPPDATA } = environment;
  if (platform === 'win32')
    return join(LOCALAPPDATA ?? join(home, 'AppData', 'Local'), 'vouchsafe', 'receipts');
  if (platform === 'darwin') return join(home, 'Library', 'Application Support', 'vouchsafe', 'receipts');
  return join(XDG_DATA_HOME || join(home, '.local', 'share'), 'vouchsafe', 'receipts');
}

/** One folder for each receipt, by its id, as `verify` reads it. Undefined where nothing is kept. */
export async function archiveOf(given: string | false | undefined): Promise<ReceiptStore | undefined> {
  if (given === false) return undefined;
  const folder = given ?? defaultArchive();
  await prepareFolder(folder, '--archive');
  // What is kept long is the operator's to move away: the disk is the bound.
  return FolderReceiptStore.open(folder, { maxBytes: Number.MAX_SAFE_INTEGER });
}

const API_KEY = /^[\x21-\x7e]{1,4096}$/;

/** The key of all callers; undefined where each brings its own. */
export async function apiKeyOf({
  apiKey,
  apiKeyFile,
}: {
  readonly apiKey?: string;
  readonly apiKeyFile?: string;
}): Promise<string | undefined> {
  if (apiKeyFile === undefined) return apiKey;
  const key = Buffer.from(await readInput(apiKeyFile))
    .toString()
    .trim();
  if (API_KEY.test(key)) return key;
  throw new CliError(
    EXIT.misuse,
    `--api-key-file: ${apiKeyFile} holds no API key`,
    'The key alone stands in it.',
  );
}
