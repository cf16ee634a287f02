import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { buildImage } from '../../enclave/image/build.ts';
import { publicKeyOf } from '../../enclave/image/release/dsse.ts';
import { firmwareProfiles } from '../../enclave/image/release/firmwareProfiles.ts';
import { FILES, type ImageManifest, manifestDigest } from '../../enclave/image/release/manifest.ts';
import { DEFAULT_PROFILES, type LaunchProfile } from '../../enclave/image/release/profiles.ts';
import { LOCAL_BUILDER } from '../../enclave/image/release/provenance.ts';
import { signImage } from '../../enclave/image/release/signImage.ts';
import { CPU_MODELS } from '../../enclave/predict/snp/cpuModels.ts';
import { sizeText } from './byteProgress.ts';
import { newCommand, repeated } from './command.ts';
import { IMAGE_EXIT_HELP, imageAction } from './imageErrors.ts';
import { type SourceFlags, toName, withInputs, withSources } from './imageSources.ts';
import { toBytes } from './measureParts.ts';
import { readPrivateKey } from './privateKey.ts';
import { printable, stdout } from './terminal.ts';

interface BuildFlags extends SourceFlags {
  readonly out: string;
  readonly name?: string;
  readonly firmware?: readonly string[];
  readonly vcpus: readonly number[];
  readonly cpu: readonly string[];
  readonly sign?: string;
  readonly directMemory?: readonly number[];
  readonly builderId: string;
  readonly json?: boolean;
}

const DEFAULT_VCPUS: readonly number[] = [1, 2, 4, 8];

const EXAMPLES = [
  [
    'an image of this checkout with its models',
    'vouchsafe image build --out image --config production.json --models models',
  ],
  [
    'with launch digests for SEV-SNP, signed',
    'vouchsafe image build --out image --config production.json --firmware OVMF.amdsev.fd --vcpus 4 8 --cpu EPYC-Milan --sign key.pem',
  ],
  [
    'from a cache, without a network',
    'vouchsafe image build --out image --config production.json --cache inputs --offline',
  ],
] as const;

const WORDS = `
The configuration is in the image, so measured: server.host is 0.0.0.0,
models.directory /models and data.directory /data where it says nothing else.
The same inputs give the same bytes; only signatures differ.
`;

export function buildImageCommand(): Command {
  const command = newCommand('build', 'Make a measured VM image of this checkout', EXAMPLES)
    .requiredOption('--out <folder>', 'where the image goes; files of an earlier one are replaced')
    .option('--name <text>', 'name of the release (default: vouchsafe- and the version)', toName);
  return withSources(command)
    .option('--firmware <file>', 'firmware to predict launches of, again for more', repeated)
    .addOption(
      new Option('--vcpus <number...>', 'processors of SEV-SNP guests')
        .argParser(toCounts)
        .default(DEFAULT_VCPUS, '1 2 4 8'),
    )
    .addOption(
      new Option('--cpu <model...>', 'processor models of SEV-SNP guests')
        .choices(CPU_MODELS)
        .default(['EPYC-v4'], 'EPYC-v4'),
    )
    .option(
      '--direct-memory <size>',
      'memory of guests whose QEMU (up to 9) rewrites the kernel that it passes, again for more',
      (text: string, before: readonly number[] | undefined) => [...(before ?? []), toBytes(text)],
    )
    .option(
      '--sign <pem>',
      'private key on P-256 for manifest and provenance; VOUCHSAFE_KEY_PASSPHRASE opens it',
    )
    .option('--builder-id <uri>', 'who builds, in the provenance', LOCAL_BUILDER)
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', `${WORDS}${IMAGE_EXIT_HELP}`)
    .action(runBuild);
}

async function runBuild(flags: BuildFlags): Promise<void> {
  const { out, sign, builderId, json = false } = flags;
  const key = sign === undefined ? undefined : await readPrivateKey(sign);
  const manifest = await imageAction(async () => {
    // Before minutes of work.
    if (key) publicKeyOf(key);
    const built = await buildFrom(flags, out, flags.name, await profilesOf(flags));
    await signImage(out, built, builderId, key);
    return built;
  });
  if (json)
    stdout.json({
      out,
      release: manifest.release.name,
      manifest: toHex(manifestDigest(manifest)),
      outputs: manifest.outputs,
    });
  else printBuilt(out, manifest, sign !== undefined);
}

async function profilesOf({
  firmware = [],
  vcpus,
  cpu,
  directMemory = [],
}: BuildFlags): Promise<readonly LaunchProfile[]> {
  const profiles = await Promise.all(firmware.map((file) => firmwareProfiles(file, { vcpus, cpus: cpu })));
  const rewritten = directMemory.map(
    (rewrittenForMemory) =>
      ({ platform: 'tpm', bank: 'sha256', boot: 'direct', rewrittenForMemory }) as const,
  );
  return [...DEFAULT_PROFILES, ...rewritten, ...profiles.flat()];
}

/** Builds from this package with the inputs that the flags name. */
export function buildFrom(
  flags: SourceFlags,
  out: string,
  name: string | undefined,
  profiles: readonly LaunchProfile[] | undefined,
): Promise<ImageManifest> {
  return withInputs(flags, async (inputs) =>
    buildImage({ ...inputs, out, name, commit: await commitOf(inputs.source), profiles }),
  );
}

/** Undefined where the sources are not exactly those of a commit. */
async function commitOf(folder: string): Promise<string | undefined> {
  const git = async (...args: readonly string[]): Promise<string> =>
    (await promisify(execFile)('git', ['-C', folder, ...args], { timeout: 30_000 })).stdout.trim();
  try {
    const [commit, changes] = [await git('rev-parse', 'HEAD'), await git('status', '--porcelain')];
    return changes === '' && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(commit) ? commit : undefined;
  } catch {
    return undefined;
  }
}

function printBuilt(out: string, manifest: ImageManifest, isSigned: boolean): void {
  const { c } = stdout;
  stdout.line(`${c.green('✓')} ${c.bold(manifest.release.name)} in ${printable(out)}`);
  for (const { file, bytes, sha256 } of manifest.outputs) {
    stdout.line(`  ${file.padEnd(28)} ${sizeText(bytes).padStart(10)}  ${c.dim(sha256)}`);
  }
  stdout.line(`manifest  ${toHex(manifestDigest(manifest))}`);
  if (!isSigned)
    stdout.line(c.yellow(`Not signed: --sign writes ${FILES.signedManifest}, which clients can believe.`));
}

function toCounts(text: string, before: unknown): readonly number[] {
  const count = Number(text);
  if (!/^\d{1,4}$/.test(text) || count < 1 || count > 4096)
    throw new InvalidArgumentError('Expected 1 to 4096.');
  return before === DEFAULT_VCPUS ? [count] : [...(before as readonly number[]), count];
}
