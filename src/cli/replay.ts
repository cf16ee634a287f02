import { InvalidArgumentError, Option, type Command } from 'commander';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal, type RefusalCode } from '../../attestation/errors.ts';
import { loadConfig } from '../config/load.ts';
import { type ReplayEngineOptions, startRecordedModel } from '../replay/engine.ts';
import { ReplayError } from '../replay/errors.ts';
import { openRecorded, type Recorded } from '../replay/recorded.ts';
import { replay, type Replay } from '../replay/replay.ts';
import { newCommand } from './command.ts';
import { readConfig } from './config.ts';
import { exchangeOf, type ExchangeFlags } from './exchangeFiles.ts';
import { CliError, EXIT } from './exit.ts';
import { isFolder, readInput } from './files.ts';
import { printReplay, replayJson } from './replayText.ts';
import { savedExchange, savedManifest } from './saved.ts';
import { withSpinner } from './spinner.ts';
import { stderr, stdout } from './terminal.ts';

interface ReplayFlags extends ExchangeFlags {
  readonly models?: string;
  readonly config?: string;
  readonly provider?: 'cpu' | 'cuda';
  readonly threads?: number;
  readonly sequences?: number;
  readonly batchRows?: number;
  readonly manifest?: string;
  readonly json?: boolean;
}

const EXAMPLES = [
  ['what `vouchsafe ask --save answer` kept, with the models of this package', 'vouchsafe replay answer'],
  ['with other models', 'vouchsafe replay answer --models ./models'],
  [
    'a bundle with its content in other places',
    'vouchsafe replay bundle.cbor --request request.bin --response response.bin --commitment-key commitment-key.txt',
  ],
] as const;

const REPLAY_EXIT_HELP = `
Exit codes:
  0 equal   2 differs, or the content is not what the receipt vouches for
  3 cannot be replayed: content, model or runtime is missing, or the answer ended early
  4 unreadable input   64 misuse

A replay checks the output. Whether hardware vouches for the receipt is \`vouchsafe verify\`.
`;

export function replayCommand(): Command {
  return newCommand('replay', 'Run a request again that a receipt is of, and compare the answers', EXAMPLES)
    .argument('<bundle>', 'bundle, or folder written by --save')
    .option('--request <file>', 'body of the request, as it was before sealing')
    .option('--response <file>', 'body of the response, as it was after opening')
    .option('--commitment-key <file|base64url>', 'the key `k` that came with the response')
    .option('--models <folder>', 'folder of the models (default: that of `vouchsafe serve`)')
    .option('--manifest <file>', 'the manifest whose digest the receipt states: says what of a model differs')
    .option('--config <file>', 'configuration file (default: vouchsafe.config.json, where there is one)')
    .addOption(
      new Option('--provider <name>', 'where the model runs (default: as the receipt says)').choices([
        'cpu',
        'cuda',
      ]),
    )
    .option('--threads <number>', 'threads of one operator (default: as the receipt has it)', toCount(1024))
    .option(
      '--sequences <number>',
      'what engine.sequences was (default: that of the configuration file, or as the receipt has it)',
      toCount(1024),
    )
    .option(
      '--batch-rows <number>',
      'what engine.batchRows was (default: that of the configuration)',
      toCount(4096),
    )
    .option('--json', 'print the comparison as JSON')
    .addHelpText('after', REPLAY_EXIT_HELP)
    .action(runReplay);
}

function toCount(most: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (!/^[1-9]\d{0,3}$/.test(text) || count > most) throw new InvalidArgumentError(`It is 1 to ${most}.`);
    return count;
  };
}

async function runReplay(target: string, given: ReplayFlags): Promise<void> {
  const folder = await isFolder(target);
  const [path, flags] = folder ? await savedExchange(target, given) : [target, given];
  const manifest = flags.manifest ?? (folder ? savedManifest(target) : undefined);
  const recorded = await open(path, flags);
  const settings = await settingsOf(flags);
  const result = await asCliError(() =>
    withSpinner(stderr, `Running ${recorded.claims.model} again`, () =>
      compare(recorded, settings, manifest),
    ),
  );
  if (flags.json) stdout.json({ input: path, ...replayJson(recorded.claims, result) });
  else printReplay(stdout, path, recorded.claims, result);
  process.exitCode = result.equal ? EXIT.accepted : EXIT.refused;
}

async function open(path: string, flags: ReplayFlags): Promise<Recorded> {
  const [bundle, { opening }] = await Promise.all([readInput(path), exchangeOf(flags)]);
  return asCliError(() => openRecorded(bundle, opening, nodeCrypto));
}

/** Flags over the configuration. What neither says is looked for in the receipt. */
async function settingsOf({
  config: file,
  models,
  provider,
  threads,
  sequences,
  batchRows,
}: ReplayFlags): Promise<ReplayEngineOptions> {
  const cli = { models: { directory: models }, engine: { sequences, batchRows } };
  const { config, origins } = await readConfig(() => loadConfig({ file, environment: process.env, cli }));
  return {
    models: config.models.directory,
    provider,
    threads,
    sequences: origins.get('engine.sequences') === 'default' ? undefined : config.engine.sequences,
    batchRows: config.engine.batchRows,
  };
}

async function compare(
  recorded: Recorded,
  settings: ReplayEngineOptions,
  manifest: string | undefined,
): Promise<Replay> {
  const encoded = manifest === undefined ? undefined : await readInput(manifest);
  const { engine } = await startRecordedModel(recorded.claims, settings);
  try {
    return await replay(recorded, engine, encoded);
  } finally {
    await engine.close();
  }
}

/** What says that a receipt is not of this content, and not that the file is none. */
const NOT_VOUCHED: readonly RefusalCode[] = [
  'COMMITMENT_MISMATCH',
  'EVIDENCE_MISMATCH',
  'KEYSET_MISMATCH',
  'ALGORITHM_MISMATCH',
  'SIGNATURE_INVALID',
];

async function asCliError<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ReplayError) {
      throw new CliError(EXIT.notJudged, `${error.code}: ${error.message}`, error.advice);
    }
    if (error instanceof Refusal && NOT_VOUCHED.includes(error.code)) {
      throw new CliError(EXIT.refused, `${error.code}: ${error.message}`, error.advice);
    }
    throw error;
  }
}
