import { randomBytes } from 'node:crypto';
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { SNP_PRODUCTS } from '../../attestation/evidence/snp/product.ts';
import { assembleCollateral } from '../collateral/assemble.ts';
import { defaultCacheFolder } from '../collateral/cacheFolder.ts';
import { encodeCollateralFile, parseCollateralFile } from '../../attestation/bundle/collateralFile.ts';
import {
  gatherCollateral,
  MAX_NEEDS,
  openSource,
  type CollateralOptions,
  type Outcome,
} from '../collateral/gather.ts';
import { needsOf, type EvidenceFlags } from './collateralEvidence.ts';
import { exitOfFetch, observer, outcomeJson, printGaps } from './collateralProgress.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { printable, stdout } from './terminal.ts';

interface FetchFlags extends EvidenceFlags {
  readonly out: string;
  readonly partial?: boolean;
  readonly kds?: string;
  readonly pccs?: string;
  readonly rimService?: string;
  readonly ocspResponder?: string;
  /** False by --no-cache. */
  readonly cache?: string | false;
  readonly offline?: boolean;
  readonly refresh?: boolean;
  readonly insecureHttp?: boolean;
  readonly timeout: string;
  readonly json?: boolean;
}

const FILE_NAME = 'collateral.cbor';

const EXAMPLES = [
  ['for a bundle', 'vouchsafe collateral fetch bundle.cbor --out bundle.collateral'],
  [
    'for a live service, into a folder',
    'vouchsafe collateral fetch https://inference.example --out archive/',
  ],
  [
    'for a raw report of AMD SEV-SNP, version 2, which does not say its product',
    'vouchsafe collateral fetch report.bin --product milan --out milan.collateral',
  ],
  [
    'for a raw report of an NVIDIA GPU, with the statuses of the certificates of its chain',
    'vouchsafe collateral fetch gpu.bin --chain chain.pem --out gpu.collateral',
  ],
  [
    'for an Intel TDX platform, from a caching service',
    'vouchsafe collateral fetch --fmspc 00806f050000 --pck-ca platform --pccs https://pccs.example:8081 --out tdx.collateral',
  ],
  ['again, without a network', 'vouchsafe collateral fetch bundle.cbor --offline --out bundle.collateral'],
] as const;

const FETCH_EXIT_HELP = `
Exit codes:
  0 everything is there and in date   3 something is missing or stale
  4 a service, or the evidence, cannot be reached or read   64 misuse
`;

export function fetchCommand(): Command {
  return newCommand('fetch', 'Fetch what vendors say about evidence, for verification offline', EXAMPLES)
    .argument(
      '[evidence]',
      'evidence document, bundle, attestation answer, raw report or quote, request to NRAS, or address of a service',
    )
    .requiredOption('--out <file|folder>', `where to save; in a folder as ${FILE_NAME}`)
    .option('--partial', 'save what could be had, also where something could not')
    .option('--chain <file...>', 'certificates of a raw report, leaf first, DER or PEM')
    .addOption(
      new Option('--product <name>', 'of an SNP report that does not say it').choices([...SNP_PRODUCTS]),
    )
    .option('--fmspc <hex>', 'FMSPC of an Intel platform, from its PCK certificate')
    .addOption(
      new Option('--pck-ca <name>', 'issuer of its PCK certificate').choices(['processor', 'platform']),
    )
    .addOption(new Option('--tee <name>', 'what the platform runs').choices(['sgx', 'tdx']).default('tdx'))
    .option('--pccs <url>', 'caching service that is asked instead of Intel')
    .option('--kds <url>', 'mirror that is asked instead of AMD’s key distribution service')
    .option('--rim-service <url>', 'mirror that is asked instead of NVIDIA’s RIM service')
    .option('--ocsp-responder <url>', 'responder that is asked instead of NVIDIA’s')
    .option('--no-ocsp', 'ask no responder for the status of certificates')
    .option('--cache <folder>', `where statements are kept (default: ${defaultCacheText()})`)
    .option('--no-cache', 'keep nothing and use nothing that was kept')
    .option('--offline', 'ask nobody: use what the cache holds')
    .option('--refresh', 'ask also for what the cache holds fresh')
    .option('--insecure-http', 'allow plain HTTP to other machines')
    .option('--timeout <seconds>', 'for everything together', '120')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', FETCH_EXIT_HELP)
    .action(runFetch);
}

function defaultCacheText(): string {
  return '$XDG_CACHE_HOME/vouchsafe/collateral or ~/.cache/vouchsafe/collateral';
}

async function runFetch(target: string | undefined, flags: FetchFlags): Promise<void> {
  const options = optionsOf(flags);
  const { needs, gaps } = await needsOf(target, flags);
  if (needs.length > MAX_NEEDS) {
    throw new CliError(
      EXIT.unreadable,
      `the evidence asks for ${needs.length} statements, of at most ${MAX_NEEDS}`,
    );
  }
  const outcomes = await gatherCollateral(needs, options);
  printGaps(gaps);
  const saved = await save(outcomes, gaps, flags);
  if (flags.json) {
    const now = Date.now();
    stdout.json({ file: saved?.path ?? null, items: outcomes.map((each) => outcomeJson(each, now)), gaps });
  } else {
    stdout.line(saved ? savedText(saved) : 'nothing was saved');
  }
  process.exitCode = exitOfFetch(outcomes, gaps);
}

function optionsOf(flags: FetchFlags): CollateralOptions {
  const { cache, offline, refresh, insecureHttp, kds, pccs, rimService, ocspResponder, ocsp } = flags;
  if (offline && refresh) throw new CliError(EXIT.misuse, '--offline and --refresh exclude each other');
  const options = {
    addresses: { amd: kds, pccs, nvidia: rimService, ocsp: ocspResponder },
    ocsp,
    cacheFolder: cache === false ? undefined : (cache ?? defaultCacheFolder()),
    offline,
    refresh,
    insecureHttp,
    totalTimeoutMs: millisecondsOf(flags.timeout),
    observer: observer(),
  };
  try {
    openSource(options);
    return options;
  } catch (error) {
    if (error instanceof TypeError) throw new CliError(EXIT.misuse, error.message);
    throw error;
  }
}

function millisecondsOf(given: string): number {
  const seconds = /^\d{1,4}(?:\.\d{1,3})?$/.test(given) ? Number(given) : 0;
  if (seconds > 0) return Math.round(seconds * 1000);
  throw new CliError(EXIT.misuse, '--timeout is a number of seconds, such as 60');
}

interface Saved {
  readonly path: string;
  readonly statements: number;
  readonly bytes: number;
}

/** Where something could not be had, nothing is written: a file is what verification needs, unless asked otherwise. */
async function save(
  outcomes: readonly Outcome[],
  gaps: readonly string[],
  { out, partial = false }: FetchFlags,
): Promise<Saved | undefined> {
  const items = outcomes.flatMap((outcome) => ('obtained' in outcome ? [outcome.obtained.item] : []));
  const nothing = items.length === 0 && (outcomes.length > 0 || gaps.length > 0);
  if (nothing || (items.length < outcomes.length && !partial)) return undefined;
  const bytes = encodeCollateralFile(assembleCollateral(items));
  // What has more statements of one kind than a reader takes is refused now, not when it is needed.
  parseCollateralFile(bytes);
  const path = (await isFolder(out)) ? join(out, FILE_NAME) : out;
  await writeWhole(path, bytes);
  return { path, statements: items.length, bytes: bytes.length };
}

async function isFolder(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isDirectory() ?? false;
}

/** An older file stays until the new one is whole. */
async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await writeFile(temporary, bytes, { flag: 'wx' });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new CliError(EXIT.unreadable, `${path} cannot be written: ${code}`);
  }
}

function savedText({ path, statements, bytes }: Saved): string {
  const count = `${statements} statement${statements === 1 ? '' : 's'}`;
  return `saved ${printable(path)}: ${count}, ${bytes} bytes`;
}
