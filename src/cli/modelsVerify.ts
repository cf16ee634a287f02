import { realpath } from 'node:fs/promises';
import type { Command } from 'commander';
import { HostingError } from '../models/hostingErrors.ts';
import { readCatalogue, readSignature, resolveReference } from '../models/release/catalogue.ts';
import { layoutOf } from '../models/release/layout.ts';
import type { ReleaseRecord } from '../models/release/record.ts';
import { checkFiles } from '../models/release/verifyRelease.ts';
import { hasSigners, parseSigners, type Signers } from '../models/signing/signers.ts';
import { requireCovered, verifySignature } from '../models/signing/verifySignature.ts';
import { newCommand } from './command.ts';
import { EXIT } from './exit.ts';
import { ByteProgress } from './byteProgress.ts';
import { reporting, signingTexts, storeConfig, withStoreOptions, type StoreFlags } from './modelsStore.ts';
import { releaseName, totalBytes } from './modelsText.ts';
import { printable, stderr, stdout } from './terminal.ts';

interface VerifyFlags extends StoreFlags {
  readonly requireSignature?: readonly string[];
}

interface Problem {
  readonly code: string;
  readonly path: string | null;
  readonly detail: string;
}

interface Verified {
  readonly release: string;
  readonly digest: string | null;
  readonly problems: readonly Problem[];
}

const HELP = `
Exit codes:
  0 every file is as it was added, and signed where that is wanted
  2 a file changed, is missing or does not belong there, or a signature is not good
  4 the store cannot be read, or has no such release   64 misuse
`;

export function verifyModelsCommand(): Command {
  const command = newCommand(
    'verify',
    'Read every byte of releases again and compare it with their records',
    [
      ['all releases', 'vouchsafe models verify'],
      [
        'what a name means now, with its signature',
        'vouchsafe models verify tinygpt --require-signature signer.pem',
      ],
    ],
  )
    .argument('[release...]', 'name@version, name@latest or alias (default: all)')
    .option(
      '--require-signature <pem>',
      'public key or authority, again for more (default: models.signing)',
      collect,
    );
  return withStoreOptions(command).addHelpText('after', HELP).action(runVerify);
}

/** Takes one value each, so that releases may follow. */
function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

async function runVerify(releases: readonly string[], flags: VerifyFlags): Promise<void> {
  const config = await storeConfig(flags);
  const texts = await signingTexts(flags.requireSignature, config);
  const results = await reporting(() => verifyAll(config.directory, releases, texts));
  if (flags.json) stdout.json({ verified: results.every(isGood), releases: results });
  else printResults(results);
  if (!results.every(isGood)) process.exitCode = EXIT.refused;
}

async function verifyAll(
  directory: string,
  releases: readonly string[],
  texts: readonly string[],
): Promise<readonly Verified[]> {
  const signers = parseSigners(texts);
  const root = await realpath(directory);
  const catalogue = await readCatalogue(root);
  const records = new Set(
    releases.length > 0
      ? releases.map((release) => resolveReference(catalogue, release))
      : catalogue.records.values(),
  );
  const broken = releases.length > 0 ? [] : [...catalogue.broken];
  const progress = new ByteProgress(stderr, 'verifying');
  progress.expect([...records].reduce((sum, record) => sum + totalBytes(record), 0));
  try {
    const results: Verified[] = [];
    for (const record of records) results.push(await verifyOne(root, record, signers, progress));
    return [...results, ...broken.map(([release, error]) => brokenResult(release, error))];
  } finally {
    progress.end();
  }
}

async function verifyOne(
  root: string,
  record: ReleaseRecord,
  signers: Signers,
  progress: ByteProgress,
): Promise<Verified> {
  const layout = layoutOf(root);
  const files = await checkFiles(layout, record, (bytes) => {
    progress.add(bytes);
  });
  const release = releaseName(record);
  const signature = hasSigners(signers) ? await signatureProblem(root, record, signers) : [];
  return { release, digest: record.digest, problems: [...files, ...signature] };
}

async function signatureProblem(
  root: string,
  record: ReleaseRecord,
  signers: Signers,
): Promise<readonly Problem[]> {
  try {
    const bytes = await readSignature(layoutOf(root), releaseName(record));
    if (!bytes) throw new HostingError('SIGNATURE_MISSING', 'the release is not signed');
    requireCovered(await verifySignature(bytes, signers), record.files);
    return [];
  } catch (error) {
    if (!(error instanceof HostingError)) throw error;
    return [{ code: error.code, path: null, detail: error.message }];
  }
}

function brokenResult(release: string, { code, message }: HostingError): Verified {
  return { release, digest: null, problems: [{ code, path: null, detail: message }] };
}

function isGood({ problems }: Verified): boolean {
  return problems.length === 0;
}

function printResults(results: readonly Verified[]): void {
  const { c } = stdout;
  if (results.length === 0) stdout.line('There are no releases.');
  for (const { release, digest, problems } of results) {
    const mark = problems.length === 0 ? c.green('✓') : c.red('✗');
    stdout.line(`${mark} ${c.bold(printable(release))} ${c.dim(digest ?? '')}`);
    for (const { code, path, detail } of problems) {
      stdout.line(c.red(`  ${code} ${printable(path === null ? detail : `${path}: ${detail}`)}`));
    }
  }
}
