import type { Command } from 'commander';
import { appraiseEvidence } from '../../attestation/appraise.ts';
import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import type { Check } from '../../attestation/checks.ts';
import { mergeCollateral, NO_COLLATERAL, type Collateral } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import type { RefusalCode } from '../../attestation/errors.ts';
import { documentDigest, parseDocument, type EvidenceDocument } from '../../attestation/evidence/document.ts';
import { DEFAULT_POLICY } from '../../attestation/policy/defaults.ts';
import { policySchema, type Policy } from '../../attestation/policy/policy.ts';
import type { SimulatedComponent } from '../../attestation/verdict/verdict.ts';
import { parseAttestation } from '../client/attestation.ts';
import { newCommand } from './command.ts';
import { timeOf } from './exchangeFiles.ts';
import { CliError, describeError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { recognise, type ShownKind } from '../../attestation/recognition/recognise.ts';
import { cpuPolicy } from './policyFromCpu.ts';
import { devicesPolicy } from './policyFromDevices.ts';
import type { Seen } from './policyFromSeen.ts';
import { isUnmeasured } from './policyFromTpm.ts';
import { deviceText, pinFiles } from './policyPin.ts';
import { stderr, stdout, wrap } from './terminal.ts';

export interface FromFlags {
  readonly thisMachineOnly?: boolean;
  readonly pinDevices?: boolean;
  readonly at?: string;
}

const EXAMPLES = [
  ['a policy for what runs on a machine now', 'vouchsafe policy from evidence.cbor > policy.json'],
  ['for two machines of one fleet', 'vouchsafe policy from one.cbor two.cbor > policy.json'],
  ['for this machine and no other', 'vouchsafe policy from evidence.cbor --this-machine-only > policy.json'],
  [
    'with GPUs that NVIDIA publishes nothing about',
    'vouchsafe policy from evidence.cbor --pin-devices > policy.json',
  ],
] as const;

const WORDS = `
The policy is the published default, narrowed: it names the platform of the
evidence and no other, its launch measurements, registers and privilege level,
and how many devices of which chips there are. What the default demands beside
stays demanded. Several files make one policy that accepts each of them; of TDX
and TPMs it also accepts registers of one beside registers of another.

This pins what the machine says of itself, and nothing here says that the
machine is a good one: compare the values with those of the image that you
built. With --pin-devices devices are verified first, and none is pinned unless
all verify.

Exit codes:
  0 written   2 no policy can accept such evidence, or a device does not verify
  4 unreadable input   64 misuse
`;

export function policyFromCommand(): Command {
  return newCommand(
    'from',
    'Print a policy that accepts what the evidence of a machine says of itself',
    EXAMPLES,
  )
    .argument('<file...>', 'evidence document, attestation answer or bundle')
    .option(
      '--this-machine-only',
      'also name chip, platform, VM, key of the TPM and devices: refuses any other machine',
    )
    .option('--pin-devices', 'also accept devices by what they measure, as `policy pin` does')
    .option('--at <time>', 'look at the evidence as of this time, ISO 8601 (default: now)')
    .addHelpText('after', WORDS)
    .action(runFrom);
}

async function runFrom(paths: readonly string[], flags: FromFlags): Promise<void> {
  const { policy, notices } = await policyFrom(paths, flags);
  for (const { text, isLoud } of notices) {
    for (const line of wrap(text, stderr.columns)) stderr.line(isLoud ? stderr.c.yellow(line) : line);
  }
  stdout.json(policy);
}

/** What whoever takes the policy has to know. */
export interface Notice {
  readonly text: string;
  readonly isLoud: boolean;
}

export interface PolicyFrom {
  readonly policy: Policy;
  readonly notices: readonly Notice[];
}

interface ReadEvidence {
  readonly document: EvidenceDocument;
  /** What came with it. */
  readonly collateral: Collateral;
}

/** A policy under which each of the documents is accepted, as far as the published default takes such a machine. */
export async function policyFrom(paths: readonly string[], flags: FromFlags): Promise<PolicyFrom> {
  const now = timeOf(flags.at);
  const read = await Promise.all(paths.map(readEvidence));
  const pinned = flags.pinDevices
    ? await pinFiles(paths, flags.at === undefined ? {} : { at: flags.at })
    : undefined;
  const narrowed = orUnreadable(paths, () =>
    narrow(read, flags.thisMachineOnly ?? false, pinned?.sets ?? []),
  );
  const looks = await Promise.all(read.map((evidence) => lookUnder(narrowed, evidence, now)));
  const policy = checked({ ...narrowed, simulated: simulatedIn(looks) });
  const notices = [
    loud(
      'This pins what the machine says of itself. Compare it with the image that you built before you trust it.',
    ),
    ...(pinned?.devices ?? []).map((device) => ({ text: deviceText(device), isLoud: false })),
    ...simulatedNotices(policy),
    ...(read.some(isWithoutMeasuredBoot) ? [loud(UNMEASURED)] : []),
    ...hostTpmNotices(policy),
    ...refusedNotices(looks),
  ];
  return { policy, notices };
}

function loud(text: string): Notice {
  return { text, isLoud: true };
}

const DOCUMENTS: Readonly<
  Partial<Record<ShownKind, (bytes: Uint8Array) => readonly [Uint8Array, Collateral]>>
> = {
  document: (bytes) => [bytes, NO_COLLATERAL],
  attestation: (bytes) => {
    const { document, collateral } = parseAttestation(bytes);
    return [document, collateral];
  },
  bundle: (bytes) => {
    const { cited, collateral } = parseBundle(bytes);
    return [cited, collateral];
  },
};

async function readEvidence(path: string): Promise<ReadEvidence> {
  const { kind, name, bytes } = recognise(await readInput(path));
  const open = DOCUMENTS[kind];
  if (!open) {
    const exit = kind === 'unknown' ? EXIT.unreadable : EXIT.misuse;
    throw new CliError(exit, `${path} holds no evidence of a machine: ${name}`);
  }
  return orUnreadable([path], () => {
    const [encoded, collateral] = open(bytes);
    return { document: parseDocument(encoded), collateral };
  });
}

function orUnreadable<T>(paths: readonly string[], read: () => T): T {
  try {
    return read();
  } catch (error) {
    const described = describeError(error);
    if (!described || error instanceof CliError) throw error;
    throw new CliError(EXIT.unreadable, `${paths.join(', ')}: ${described.message}`, described.advice);
  }
}

/** Hex digits of a document's digest in names of values. */
const NAME_DIGITS = 16;
/** Documents that the description names. */
const MAX_DESCRIBED = 16;

function narrow(
  read: readonly ReadEvidence[],
  thisMachineOnly: boolean,
  pins: Parameters<typeof devicesPolicy>[1]['pins'],
): Policy {
  const named = read.map(({ document }): Seen<EvidenceDocument> => {
    const digest = toHex(documentDigest(document.encoded, nodeCrypto));
    return { name: `evidence ${digest.slice(0, NAME_DIGITS)}`, value: document };
  });
  const names = named.map(({ name }) => name);
  const more = names.length > MAX_DESCRIBED ? ` and ${names.length - MAX_DESCRIBED} more` : '';
  const cpu = named.map(({ name, value }) => ({ name, value: value.cpu }));
  const machines = read.map(({ document }) => document.devices);
  return {
    ...DEFAULT_POLICY,
    description: `Published default, narrowed to what this says of itself: ${names.slice(0, MAX_DESCRIBED).join(', ')}${more}.`,
    cpu: cpuPolicy(cpu, { thisMachineOnly }),
    devices: devicesPolicy(machines, { thisMachineOnly, pins }),
  };
}

/** What a policy would not take, a policy must not be made of. */
function checked(policy: Policy): Policy {
  const result = policySchema.safeParse(policy);
  if (result.success) return result.data;
  const problems = result.error.issues.map(
    ({ path, message }) => `${path.map(String).join('.')}: ${message}`,
  );
  throw new CliError(EXIT.refused, `no policy can hold what this evidence says: ${problems.join('; ')}`);
}

/** What the verifier finds under the policy, for the published roots. */
interface Found {
  readonly simulated: readonly SimulatedComponent[];
  readonly refused: readonly Check[];
}

/** Nothing was asked for with a nonce here, and the vendors' statements are for later. */
const LEFT_OPEN: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  'COLLATERAL_MISSING',
  'COLLATERAL_EXPIRED',
  'COLLATERAL_NOT_YET_VALID',
  'CRL_EXPIRED',
  'CERT_STATUS_UNKNOWN',
  'REFERENCE_VALUES_MISSING',
  'KEYSET_EXPIRED',
  'NONCE_MISMATCH',
  'SIMULATED_HARDWARE',
]);

async function lookUnder(
  policy: Policy,
  { document, collateral }: ReadEvidence,
  now: number,
): Promise<Found> {
  const { verdict, appraisal } = await appraiseEvidence(document.encoded, undefined, {
    policy,
    anchors: DEFAULT_ANCHORS,
    collateral: mergeCollateral(NO_COLLATERAL, collateral),
    now,
    crypto: nodeCrypto,
  });
  const refused = verdict.checks.filter(
    ({ result, code }) => result === 'fail' && !LEFT_OPEN.has(code as RefusalCode),
  );
  return { simulated: appraisal.simulated, refused };
}

/** A policy names exactly what is simulated: documents that differ in it are for policies of their own. */
function simulatedIn([first, ...others]: readonly Found[]): SimulatedComponent[] {
  const simulated = [...(first?.simulated ?? [])];
  const differs = others.some((other) => other.simulated.join() !== simulated.join());
  if (!differs) return simulated;
  throw new CliError(
    EXIT.misuse,
    'some of the evidence is simulated and some is not',
    'Make a policy for each.',
  );
}

function simulatedNotices({ simulated }: Policy): readonly Notice[] {
  if (simulated.length === 0) return [];
  const what = simulated.join(' and ');
  return [
    loud(
      `SIMULATED: ${what}. Anyone can make such evidence, and this policy accepts it: for development only.`,
    ),
  ];
}

const UNMEASURED =
  'Nothing was measured at boot: the registers of the image are zero, and every image that measures nothing has these values.';

function isWithoutMeasuredBoot({ document: { cpu } }: ReadEvidence): boolean {
  return 'tpm' in cpu && isUnmeasured(cpu.tpm.pcrs.values);
}

function hostTpmNotices({ cpu }: Policy): readonly Notice[] {
  const named = (['gcp-vtpm', 'nitrotpm', 'tpm'] as const).filter((platform) => cpu[platform] !== 'refused');
  if (named.length === 0) return [];
  const text = `The policy accepts ${named.join(' and ')}: a TPM of the host says what booted and does not protect memory from it.`;
  return [loud(text)];
}

/** Whatever its measurements, the default refuses such a machine: that is for a person to widen. */
function refusedNotices(looks: readonly Found[]): readonly Notice[] {
  const texts = looks.flatMap(({ refused }) =>
    refused.map(({ id, subject, code, reason }) => `${id} of ${subject}: ${code}: ${reason}`),
  );
  return [...new Set(texts)].map((text) => loud(`The policy refuses this evidence: ${text}`));
}
