import { type Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_POLICY } from '../../attestation/policy/defaults.ts';
import type { Policy, Reference } from '../../attestation/policy/policy.ts';
import type { BootWay } from '../../enclave/image/release/profiles.ts';
import { POLICY_PLATFORMS, policyOf, type PolicyPlatform } from '../../enclave/image/release/policyOf.ts';
import { readReleases, type Releases } from '../../enclave/image/release/releases.ts';
import { newCommand, repeated } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { IMAGE_EXIT_HELP, imageAction } from './imageErrors.ts';
import { readImageManifest, readPinnedKeys } from './imageInput.ts';
import { readPolicy } from './policyFile.ts';
import { stderr, stdout, wrap } from './terminal.ts';

interface PolicyFlags {
  readonly platform: PolicyPlatform;
  readonly boot: readonly BootWay[];
  readonly bank: 'sha256' | 'sha384';
  readonly base?: string;
  readonly key?: readonly string[];
  readonly releases?: string;
  readonly seen: number;
  readonly attestationKey?: readonly string[];
  readonly pcr?: readonly PlatformPcr[];
  readonly devices: boolean;
}

interface PlatformPcr {
  readonly pcr: string;
  readonly reference: Reference;
}

/** Largest statement on releases in its envelope, bytes. */
const MAX_RELEASES_BYTES = 2 * 1024 * 1024;

const EXAMPLES = [
  [
    'a policy for two releases whose publisher is known',
    'vouchsafe image policy image-1.0 image-1.1 --platform tdx --base mine.json --key publisher.pem --releases releases.dsse.json > policy.json',
  ],
  [
    'development on a TPM, without GPUs',
    'vouchsafe image policy image --platform tpm --no-devices > policy.json',
  ],
  [
    'with a register of the platform, from a boot of it',
    'vouchsafe image policy image --platform tpm --pcr 7=4b1f…09c3 > policy.json',
  ],
] as const;

export function policyImageCommand(): Command {
  return newCommand('policy', 'Print the policy of a client that accepts these releases', EXAMPLES)
    .argument('<image...>', 'output folders or manifests of the releases that are accepted')
    .addOption(
      new Option('--platform <name>', 'where they run; every other platform is refused')
        .choices(POLICY_PLATFORMS)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--boot <way...>', 'how they may come up: from their disk, or with a kernel of the host')
        .choices(['disk', 'direct'])
        .default(['disk'], 'disk; direct for snp'),
    )
    .addOption(new Option('--bank <hash>', 'bank of the TPM').choices(['sha256', 'sha384']).default('sha256'))
    .option('--base <file>', 'policy that says everything else (default: the published one)')
    .option('--key <pem>', 'public key of the publisher, who must have signed all, again for more', repeated)
    .option(
      '--releases <file>',
      'signed statement on releases: what is withdrawn or out of its time is left out',
    )
    .option('--seen <number>', 'highest sequence of a statement on releases that was seen', toSequence, 0)
    .option('--attestation-key <hex>', 'SHA-256 of a TPM key that may sign, again for more', keyOf)
    .option(
      '--pcr <index=value>',
      'register of the platform (0, 1, 7) to compare as well, again for more',
      pcrOf,
    )
    .option('--no-devices', 'the machine has no GPUs')
    .addHelpText('after', IMAGE_EXIT_HELP)
    .action(runPolicy);
}

async function runPolicy(images: readonly string[], flags: PolicyFlags, command: Command): Promise<void> {
  const { platform, bank, base, key = [], seen, attestationKey, pcr = [], devices } = flags;
  if (flags.releases !== undefined && key.length === 0) {
    throw new CliError(
      EXIT.misuse,
      '--releases needs --key',
      'A statement on releases is the word of its signer.',
    );
  }
  // Of SNP only a launch with a kernel of the host measures the image.
  const usual = command.getOptionValueSource('boot') === 'default';
  const boots: readonly BootWay[] = usual && platform === 'snp' ? ['direct'] : flags.boot;
  const { policy, notes } = await imageAction(async () => {
    const pinned = await readPinnedKeys(key);
    const now = Date.now();
    const statement = await readStatement(flags.releases, { pinned, now, seen });
    return policyOf({
      manifests: await Promise.all(images.map((image) => readImageManifest(image, pinned))),
      platform,
      bank,
      boots,
      base: base === undefined ? DEFAULT_POLICY : await readPolicy(base),
      releases: statement && { statement, now },
      ...(attestationKey && { attestationKeys: [...attestationKey] }),
      platformPcrs: Object.fromEntries(pcr.map(({ pcr: index, reference }) => [index, [reference]])),
      devices: devices ? undefined : 'none',
    });
  });
  printNotes(pinnedNote(key), notes);
  stdout.json(policy satisfies Policy);
}

async function readStatement(
  path: string | undefined,
  reading: Parameters<typeof readReleases>[1],
): Promise<Releases | undefined> {
  return path === undefined ? undefined : readReleases(await readInput(path, MAX_RELEASES_BYTES), reading);
}

function pinnedNote(keys: readonly string[]): readonly string[] {
  return keys.length > 0
    ? []
    : ['No key was named: that these manifests are the publisher’s, you know by other means.'];
}

function printNotes(...notes: readonly (readonly string[])[]): void {
  const { c, columns } = stderr;
  for (const note of notes.flat()) for (const line of wrap(note, columns)) stderr.line(c.yellow(line));
}

function toSequence(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a whole number.');
}

function keyOf(text: string, before: readonly string[] = []): readonly string[] {
  if (/^[0-9a-f]{64}$/.test(text)) return [...before, text];
  throw new InvalidArgumentError('It is 64 lower-case hex digits.');
}

function pcrOf(text: string, before: readonly PlatformPcr[] = []): readonly PlatformPcr[] {
  const [, pcr, value] = /^([017])=([0-9a-f]{64}|[0-9a-f]{96})$/.exec(text) ?? [];
  if (pcr === undefined || value === undefined) {
    throw new InvalidArgumentError('Expected 0, 1 or 7, an equals sign and the value in lower-case hex.');
  }
  if (before.some((other) => other.pcr === pcr)) throw new InvalidArgumentError(`PCR ${pcr} is there twice.`);
  return [...before, { pcr, reference: { name: 'of the platform', value } }];
}
