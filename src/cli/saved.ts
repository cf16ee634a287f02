import { existsSync } from 'node:fs';
import { access, constants, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { toBase64Url, toHex } from '../../attestation/bytes/bytes.ts';
import type { Answer } from '../client/answer.ts';
import type { ExchangeFlags } from './exchangeFiles.ts';
import { CliError, EXIT } from './exit.ts';

/** What `--save` writes, and `verify` reads again. */
const FILE = {
  bundle: 'bundle.cbor',
  request: 'request.bin',
  response: 'response.bin',
  commitmentKey: 'commitment-key.txt',
  nonce: 'nonce.txt',
  /** Of the model; only `replay` reads it. */
  manifest: 'manifest.cbor',
} as const;

/** Makes the folder before anything is sent: an answer that cannot be kept cannot be proved later. */
export async function prepareFolder(folder: string, option = '--save'): Promise<void> {
  try {
    await makeFolder(resolve(folder), option);
    await access(folder, constants.W_OK);
  } catch (error) {
    if (error instanceof CliError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new CliError(EXIT.misuse, `${option}: ${folder} cannot be written: ${code}`);
  }
}

/** Step by step: Node's own recursive `mkdir` never ends where a folder takes none, such as /proc. */
async function makeFolder(folder: string, option: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory()) return;
  if (found) throw new CliError(EXIT.misuse, `${option}: ${folder} is a file`, 'Name a folder.');
  if (dirname(folder) !== folder) await makeFolder(dirname(folder), option);
  await mkdir(folder, { mode: 0o700 });
}

/** Keeps an exchange, so that it can be proved later. The files hold content: they are for the owner's eyes only. */
export async function saveExchange(
  folder: string,
  answer: Answer,
  bundle: Uint8Array,
  manifest?: Uint8Array,
): Promise<void> {
  const write = (name: string, content: Uint8Array | string) =>
    writeFile(join(folder, name), content, { mode: 0o600 });
  await Promise.all([
    write(FILE.bundle, bundle),
    write(FILE.request, answer.request),
    write(FILE.response, answer.body),
    write(FILE.commitmentKey, `${toBase64Url(answer.k ?? new Uint8Array(0))}\n`),
    write(FILE.nonce, `${toHex(answer.nonce)}\n`),
    ...(manifest ? [write(FILE.manifest, manifest)] : []),
  ]);
}

/** Bundle and options for a saved folder. Options that the caller gave stay. */
export async function savedExchange<F extends ExchangeFlags>(folder: string, flags: F): Promise<[string, F]> {
  const bundle = join(folder, FILE.bundle);
  if (!existsSync(bundle)) {
    const advice = 'Name a folder that --save wrote, or one file.';
    throw new CliError(EXIT.unreadable, `${folder} holds no ${FILE.bundle}`, advice);
  }
  const nonce = await readFile(join(folder, FILE.nonce), 'utf8').catch(() => undefined);
  const content = existsSync(join(folder, FILE.commitmentKey))
    ? {
        request: join(folder, FILE.request),
        response: join(folder, FILE.response),
        commitmentKey: join(folder, FILE.commitmentKey),
      }
    : {};
  return [bundle, { ...content, ...(nonce === undefined ? {} : { nonce: nonce.trim() }), ...flags }];
}

/** Path of the manifest in a saved folder; undefined where there is none. */
export function savedManifest(folder: string): string | undefined {
  const path = join(folder, FILE.manifest);
  return existsSync(path) ? path : undefined;
}
