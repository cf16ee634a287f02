import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import {
  DEFAULT_RENEWAL_HASH,
  RENEWAL_HASHES,
  RENEWALS,
  type RenewalHash,
} from '../../attestation/archive/renewal.ts';
import { MAX_TIMESTAMPS } from '../../attestation/archive/renewalFiles.ts';
import { RenewalError, type RenewalErrorCode } from '../archive/renewal/errors.ts';
import { renewArchive, type RenewOutcome } from '../archive/renewal/renew.ts';
import { newCommand, repeated } from './command.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';
import { anchorsWith } from './extraAnchors.ts';
import { ByteProgress, sizeText } from './byteProgress.ts';
import { printable, stderr, stdout } from './terminal.ts';

interface RenewFlags {
  readonly data: string;
  readonly tsa: readonly string[];
  readonly hash: RenewalHash;
  readonly timestampsOnly?: boolean;
  readonly anchor?: readonly string[];
  readonly json?: boolean;
}

const EXAMPLES = [
  [
    'once a year: hash everything again, and have it timestamped',
    'vouchsafe archive renew --data data --tsa https://tsa.example/tsr',
  ],
  [
    'by two authorities, which are trusted by their keys',
    'vouchsafe archive renew --tsa https://a.example --tsa https://b.example --anchor timestamp:<64 hex> --anchor timestamp:<64 hex>',
  ],
  [
    'before the certificate of the last timestamp ends, where no hash is weak',
    'vouchsafe archive renew --timestamps-only --tsa https://tsa.example/tsr',
  ],
] as const;

const HELP = `
Exit codes:
  0 renewed   2 a file is not as it was renewed last, or a renewal is damaged
  4 no authority answered, or the folder cannot be read: run it again, it goes on   64 misuse
`;

export function renewCommand(): Command {
  return newCommand(
    'renew',
    'Hash an archive again and have it timestamped, before hashes and keys age',
    EXAMPLES,
  )
    .option('--data <folder>', 'data folder of the service', 'data')
    .requiredOption('--tsa <url>', 'RFC 3161 timestamp authority, again for more', toUrl)
    .option(
      '--hash <name>',
      `of the new tree: ${Object.keys(RENEWAL_HASHES).join(' or ')}`,
      toHash,
      DEFAULT_RENEWAL_HASH,
    )
    .option('--timestamps-only', 'renew the former timestamps, without reading the data')
    .option(
      '--anchor <anchor>',
      'trust only authorities with this key, as timestamp:SPKI_SHA256; again for more',
      repeated,
    )
    .option('--json', 'print the result as JSON')
    .addHelpText('after', HELP)
    .action(runRenew);
}

function toUrl(text: string, before: readonly string[] = []): readonly string[] {
  const { protocol } = URL.canParse(text) ? new URL(text) : { protocol: '' };
  if (protocol !== 'https:' && protocol !== 'http:')
    throw new InvalidArgumentError('Give an address of http or https.');
  if (before.length === MAX_TIMESTAMPS)
    throw new InvalidArgumentError(`At most ${MAX_TIMESTAMPS} authorities.`);
  return [...before, text];
}

function toHash(text: string): RenewalHash {
  if (Object.hasOwn(RENEWAL_HASHES, text)) return text as RenewalHash;
  throw new InvalidArgumentError(`One of ${Object.keys(RENEWAL_HASHES).join(', ')}.`);
}

const EXITS: Readonly<Record<RenewalErrorCode, ExitCode>> = {
  RENEWAL_BUSY: EXIT.unreadable,
  DATA_UNREADABLE: EXIT.unreadable,
  DATA_ALTERED: EXIT.refused,
  RENEWAL_DAMAGED: EXIT.refused,
  NOTHING_TO_RENEW: EXIT.misuse,
  HASH_WEAKER: EXIT.misuse,
  AUTHORITY_FAILED: EXIT.unreadable,
};

async function runRenew(flags: RenewFlags): Promise<void> {
  const anchors = flags.anchor && anchorsWith(flags.anchor);
  const stop = new AbortController();
  const interrupt = (): void => {
    stop.abort(new CliError(EXIT.unreadable, 'interrupted', 'Run the command again: it goes on.'));
  };
  process.once('SIGINT', interrupt);
  const progress = new ByteProgress(stderr, 'renewing');
  try {
    if (!flags.timestampsOnly) void expectBytes(join(flags.data, 'instances'), progress);
    const outcome = await renewArchive({
      data: flags.data,
      hash: flags.hash,
      timestampsOnly: flags.timestampsOnly ?? false,
      authorities: flags.tsa,
      anchors,
      now: () => Date.now(),
      signal: stop.signal,
      onFile: (bytes) => {
        progress.add(bytes);
      },
    });
    progress.end();
    if (flags.json) stdout.json(outcomeJson(outcome));
    else printOutcome(outcome, anchors !== undefined);
  } catch (error) {
    if (!(error instanceof RenewalError)) throw error;
    throw new CliError(EXITS[error.code], `${error.code}: ${error.message}`, error.advice);
  } finally {
    progress.end();
    process.removeListener('SIGINT', interrupt);
  }
}

/** The bar has an end once the folder is measured; hashing does not wait for it. */
async function expectBytes(folder: string, progress: ByteProgress): Promise<void> {
  let total = 0;
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of entries.filter((file) => file.isFile())) {
    const size = await stat(join(entry.parentPath, entry.name)).then(
      (file) => file.size,
      () => 0,
    );
    total += size;
  }
  progress.expect(total);
}

function outcomeJson({ record, kind, isContinued, stamps, failures, missing }: RenewOutcome): object {
  return {
    seq: record.seq,
    kind,
    hash: record.hash,
    continued: isContinued,
    segments: record.segments.map(({ name, count, bytes }) => ({ name, files: count, bytes })),
    missing,
    timestamps: stamps.map(({ url, file, time, certificates }) => ({
      url,
      file: `${RENEWALS}/${file}`,
      time: new Date(time).toISOString(),
      certificates: certificates.map((certificate) => ({
        ...certificate,
        notAfter: new Date(certificate.notAfter).toISOString(),
      })),
    })),
    failures: failures.map(({ code, message }) => ({ code, message })),
  };
}

function printOutcome(
  { record, kind, isContinued, stamps, failures, missing }: RenewOutcome,
  judged: boolean,
): void {
  const { c } = stdout;
  const data = record.segments.filter(({ name }) => name !== RENEWALS);
  const files = data.reduce((sum, { count }) => sum + count, 0);
  const bytes = data.reduce((sum, segment) => sum + segment.bytes, 0);
  const what =
    kind === 'timestamp'
      ? 'timestamps renewed'
      : `${data.length} instances, ${files} files, ${sizeText(bytes)}`;
  const went = isContinued ? ', continued' : '';
  stdout.line(`${c.green('✓')} renewal ${record.seq} (${record.hash})${went}: ${what}`);
  if (missing > 0) stdout.line(`${c.yellow('!')} ${missing} files of the last renewal are there no more`);
  for (const { url, file, time, certificates } of stamps) {
    stdout.line(`  ${RENEWALS}/${file}  ${new Date(time).toISOString()}  ${printable(url)}`);
    if (judged) continue;
    for (const { subject, spkiSha256, notAfter } of certificates) {
      const end = new Date(notAfter).toISOString().slice(0, 10);
      stdout.line(c.dim(`    timestamp:${spkiSha256}  ${printable(subject)}, until ${end}`));
    }
  }
  if (!judged)
    stdout.line(c.dim('  Not judged: name the authorities with --anchor to have their signatures checked.'));
  for (const { code, message } of failures)
    stderr.line(`${stderr.c.yellow('!')} ${printable(`${code}: ${message}`)}`);
}
