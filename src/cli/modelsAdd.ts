import { InvalidArgumentError, type Command } from 'commander';
import { addRelease, HUGGING_FACE, type Added } from '../models/import/addRelease.ts';
import type { Credentials } from '../models/import/importing.ts';
import { HostingError } from '../models/hostingErrors.ts';
import { parseSigners } from '../models/signing/signers.ts';
import { newCommand, repeated } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { ByteProgress, sizeText } from './byteProgress.ts';
import { parseSize } from './modelsProgress.ts';
import { releaseJson, releaseName } from './modelsText.ts';
import { reporting, signingTexts, storeConfig, withStoreOptions, type StoreFlags } from './modelsStore.ts';
import { printable, stderr, stdout } from './terminal.ts';

interface AddFlags extends StoreFlags {
  readonly alias?: readonly string[];
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  readonly digest?: string;
  readonly signature?: string;
  readonly requireSignature?: readonly string[];
  readonly quota?: number;
  readonly endpoint: string;
  readonly insecureHttp?: boolean;
  readonly timeout: number;
}

const EXAMPLES = [
  ['a folder', 'vouchsafe models add ./tinygpt tinygpt@1.0'],
  [
    'an archive from the web, pinned by its digest',
    'vouchsafe models add https://models.example/tinygpt.tar.gz tinygpt@1.1 --digest sha256:<64 hex>',
  ],
  [
    'the files that a list of sha256sum names beside itself',
    'vouchsafe models add https://models.example/tinygpt/SHA256SUMS tinygpt@1.1 --digest sha256:<64 hex>',
  ],
  [
    'of a repository of the Hugging Face hub, only what is served',
    "vouchsafe models add hf:owner/name@main name@1 --include 'onnx/model.onnx*' --include '*.json'",
  ],
  [
    'an artifact of an OCI registry',
    'vouchsafe models add oci://registry.example/models/tinygpt:1.1 tinygpt@1.1',
  ],
  ['only with a good signature', 'vouchsafe models add ./tinygpt tinygpt@1.2 --require-signature signer.pem'],
] as const;

const HELP = `
Environment:
  HF_TOKEN                                                   token for the Hugging Face hub
  VOUCHSAFE_REGISTRY_USER, VOUCHSAFE_REGISTRY_PASSWORD       credentials for an OCI registry

Exit codes:
  0 added, or there already   2 refused: signature, digest, quota, hostile content, or no model
  4 a source that cannot be reached or read, or a locked store   64 misuse
`;

export function addCommand(): Command {
  const command = newCommand('add', 'Add a model as a release that never changes', EXAMPLES)
    .argument(
      '<source>',
      'folder, .tar, .tar.gz, https://…, hf:owner/name@revision or oci://registry/repository:tag',
    )
    .argument('<release>', 'name@version that it becomes')
    .option('--alias <name>', 'let this name mean the release, again for more', repeated)
    .option('--include <pattern>', 'take only files that match, again for more', repeated)
    .option('--exclude <pattern>', 'leave out files that match, again for more', repeated)
    .option('--digest <sha256>', 'of the archive, the list or the manifest: sha256:<64 hex>', toDigest)
    .option('--signature <file>', 'OpenSSF Model Signing bundle (default: model.sig of the source)')
    .option('--require-signature <pem...>', 'public keys or authorities of whom one must have signed')
    .option(
      '--quota <size>',
      'most of all releases together, such as 200GB (default: models.quotaBytes)',
      toSize,
    )
    .option('--endpoint <url>', 'hub that is asked instead of Hugging Face’s', HUGGING_FACE)
    .option('--insecure-http', 'allow plain HTTP to other machines')
    .option('--timeout <seconds>', 'for everything together', toSeconds, 21_600);
  return withStoreOptions(command).addHelpText('after', HELP).action(runAdd);
}

function toDigest(text: string): string {
  const [, hex] = /^(?:sha256:)?([0-9a-fA-F]{64})$/.exec(text) ?? [];
  if (hex === undefined) throw new InvalidArgumentError('A digest is sha256: and 64 hex digits.');
  return hex.toLowerCase();
}

function toSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined)
    throw new InvalidArgumentError('A size is a number of bytes, or such as 200GB or 64MiB.');
  return bytes;
}

function toSeconds(text: string): number {
  const seconds = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (seconds === 0) throw new InvalidArgumentError('A number of seconds, such as 3600.');
  return seconds;
}

async function runAdd(source: string, release: string, flags: AddFlags): Promise<void> {
  if (!URL.canParse(flags.endpoint)) throw new CliError(EXIT.misuse, '--endpoint is no address');
  const config = await storeConfig(flags);
  const signing = await signingTexts(flags.requireSignature, config);
  const progress = new ByteProgress(stderr, `adding ${printable(release)}`);
  try {
    const added = await reporting(() =>
      addRelease({
        directory: config.directory,
        source,
        release,
        quotaBytes: flags.quota ?? config.quotaBytes,
        signers: parseSigners(signing),
        signatureFile: flags.signature,
        aliases: flags.alias,
        include: flags.include,
        exclude: flags.exclude,
        sha256: flags.digest,
        endpoint: flags.endpoint,
        credentials: credentials(),
        http: httpOptions(flags, progress),
        now: Date.now(),
        onTotal: (bytes) => {
          progress.expect(bytes);
        },
        onBytes: (bytes) => {
          progress.add(bytes);
        },
      }),
    );
    progress.end();
    printAdded(added, flags);
  } finally {
    progress.end();
  }
}

function httpOptions({ insecureHttp, timeout }: AddFlags, progress: ByteProgress) {
  const late = new HostingError('SOURCE_TIMEOUT', `the source did not send everything within ${timeout} s`);
  const controller = new AbortController();
  setTimeout(
    () => {
      controller.abort(late);
    },
    Math.min(timeout * 1000, 2 ** 31 - 1),
  ).unref();
  return {
    insecureHttp,
    signal: controller.signal,
    onPause: (milliseconds: number, because: HostingError): void => {
      progress.pause();
      stderr.line(
        `${stderr.c.dim('…')} ${printable(because.message)}: again in ${(milliseconds / 1000).toFixed(1)} s`,
      );
    },
  };
}

function credentials(): Credentials {
  const { HF_TOKEN, VOUCHSAFE_REGISTRY_USER: user, VOUCHSAFE_REGISTRY_PASSWORD: password } = process.env;
  return {
    huggingFaceToken: HF_TOKEN === '' ? undefined : HF_TOKEN,
    registry: user !== undefined && password !== undefined ? { user, password } : undefined,
  };
}

function printAdded({ record, isNew, aliases }: Added, { json = false }: AddFlags): void {
  if (json) {
    stdout.json({ added: isNew, aliases, release: releaseJson(record, []) });
    return;
  }
  const { c } = stdout;
  const size = sizeText(record.files.reduce((sum, file) => sum + file.size, 0));
  const said = isNew ? 'added' : 'there already';
  stdout.line(
    `${c.green('✓')} ${c.bold(releaseName(record))} ${said}: ${record.files.length} files, ${size}`,
  );
  stdout.line(`  digest ${record.digest}`);
  if (record.signer) stdout.line(`  signed by ${record.signer.kind} ${record.signer.spkiSha256}`);
  for (const alias of aliases) stdout.line(`  ${alias} means it from the next load on`);
}
