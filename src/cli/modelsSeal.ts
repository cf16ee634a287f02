import { randomBytes } from 'node:crypto';
import { lstat, open } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { FileRefused } from '../models/errors.ts';
import { DATA_KEY_BYTES } from '../models/sealed/chunks.ts';
import { KEY_HOLDERS, type KeyHolder, type WrappedKey } from '../models/sealed/header.ts';
import { type Sealed, sealModel } from '../models/sealed/sealModel.ts';
import { parseKeyFile, wrapDataKey } from '../models/sealed/wrappedKey.ts';
import { ByteProgress, sizeText } from './byteProgress.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { reporting } from './modelsStore.ts';
import { printable, stderr, stdout } from './terminal.ts';

interface SealFlags {
  readonly keyFile?: string;
  readonly newKey?: boolean;
  readonly dataKeyFile?: string;
  readonly wrappedFile?: string;
  readonly keyName: string;
  readonly holder: KeyHolder;
  readonly json?: boolean;
}

const KEY_NAME = /^[\x21-\x7e]{1,256}$/;

const HELP = `
A random data key seals the files that a service reads, and nothing else of the folder. The key of --key-file wraps it;
give that key to whoever releases it: a node with keyRelease.keys, Trustee's KBS, or Azure's key vault. With AWS KMS the
data key is that of GenerateDataKey (--data-key-file) and comes wrapped (--wrapped-file).

Exit codes:
  0 the folder is sealed   2 it is no model   4 it cannot be read or written   64 misuse
`;

export function sealCommand(): Command {
  return newCommand('seal', 'Encrypt a model folder, so that only an attested instance can open it', [
    [
      'with a new key, which is then given to the node that releases it',
      'vouchsafe models seal ./tinygpt ./sealed/tinygpt --new-key --key-file tinygpt-2026.key --key-name tinygpt-2026',
    ],
    [
      'with a data key of AWS KMS',
      'vouchsafe models seal ./tinygpt ./sealed/tinygpt --holder aws-kms --key-name alias/models --data-key-file plain.key --wrapped-file wrapped.bin',
    ],
  ])
    .argument('<folder>', 'folder of the model')
    .argument('<out>', 'folder that is made; its name is the model id')
    .requiredOption('--key-name <name>', 'name by which the holder knows the wrapping key')
    .addOption(
      new Option('--holder <holder>', 'who releases the data key').choices(KEY_HOLDERS).default('vouchsafe'),
    )
    .option('--key-file <file>', 'wrapping key: 32 bytes or 64 hex digits')
    .option('--new-key', 'make the wrapping key and write it to --key-file, which may not exist')
    .option('--data-key-file <file>', 'data key in clear: 32 bytes or 64 hex digits')
    .option('--wrapped-file <file>', 'the same data key as its holder wrapped it')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', HELP)
    .action(runSeal);
}

async function runSeal(folder: string, out: string, flags: SealFlags): Promise<void> {
  if (!KEY_NAME.test(flags.keyName)) {
    throw new CliError(EXIT.misuse, '--key-name has 1 to 256 characters of ASCII without spaces');
  }
  if (await exists(out))
    throw new CliError(EXIT.misuse, `${out} exists`, 'Name a folder that does not exist.');
  const { dataKey, key } = await keysOf(flags);
  const progress = new ByteProgress(stderr, `sealing ${printable(folder)}`);
  try {
    const sealed = await reporting(() =>
      sealModel({
        source: folder,
        target: out,
        dataKey,
        key,
        onTotal: (bytes) => {
          progress.expect(bytes);
        },
        onBytes: (bytes) => {
          progress.add(bytes);
        },
      }),
    );
    progress.end();
    printSealed(sealed, out, flags);
  } finally {
    progress.end();
    dataKey.fill(0);
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

interface Keys {
  readonly dataKey: Uint8Array;
  readonly key: WrappedKey;
}

async function keysOf(flags: SealFlags): Promise<Keys> {
  const { holder, keyName: name, keyFile, dataKeyFile, wrappedFile, newKey = false } = flags;
  if (wrappedFile !== undefined && dataKeyFile !== undefined && keyFile === undefined && !newKey) {
    const wrapped = await readInput(wrappedFile);
    return { dataKey: await readKey(dataKeyFile), key: { holder, name, wrapped } };
  }
  if (keyFile === undefined || wrappedFile !== undefined || dataKeyFile !== undefined) {
    throw new CliError(EXIT.misuse, 'give --key-file, or --data-key-file and --wrapped-file together');
  }
  if (holder === 'aws-kms') {
    throw new CliError(
      EXIT.misuse,
      'AWS KMS wraps data keys itself: give --data-key-file and --wrapped-file',
    );
  }
  const wrapping = newKey ? await makeKey(keyFile) : await readKey(keyFile);
  const dataKey = randomBytes(DATA_KEY_BYTES);
  const wrapped = wrapDataKey(wrapping, name, dataKey);
  wrapping.fill(0);
  return { dataKey, key: { holder, name, wrapped } };
}

async function readKey(path: string): Promise<Uint8Array> {
  const bytes = await readInput(path);
  try {
    return parseKeyFile(bytes);
  } catch (error) {
    if (error instanceof FileRefused) throw new CliError(EXIT.misuse, `${path} ${error.message}`);
    throw error;
  } finally {
    bytes.fill(0);
  }
}

/** For its owner alone, and never over another key. */
async function makeKey(path: string): Promise<Uint8Array> {
  const key = randomBytes(DATA_KEY_BYTES);
  await reporting(async () => {
    const handle = await open(path, 'wx', 0o600);
    try {
      await handle.writeFile(`${toHex(key)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
  return key;
}

function printSealed(
  { contents, digest }: Sealed,
  out: string,
  { json = false, keyName, holder }: SealFlags,
): void {
  const bytes = contents.files.reduce((sum, { size }) => sum + size, 0);
  if (json) {
    stdout.json({
      sealed: out,
      digest: toHex(digest),
      bytes,
      chunk_bytes: contents.chunkBytes,
      key: { holder, name: keyName },
      files: contents.files,
    });
    return;
  }
  const { c } = stdout;
  stdout.line(
    `${c.green('✓')} ${c.bold(printable(out))} sealed: ${contents.files.length} files, ${sizeText(bytes)}`,
  );
  stdout.line(`  digest ${toHex(digest)}`);
  stdout.line(`  key ${printable(keyName)}, released by ${holder}`);
}
