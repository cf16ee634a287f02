import type { Command } from 'commander';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { pinMeasurements } from '../../attestation/evidence/nvidia/pinned.ts';
import type { VerifiedDevice } from '../../attestation/evidence/nvidia/verify.ts';
import { nvidiaPolicySchema, type PinnedMeasurements } from '../../attestation/policy/nvidia.ts';
import { readCertificates } from './collateralCertificates.ts';
import { newCommand, repeated } from './command.ts';
import { nonceOf, timeOf } from './exchangeFiles.ts';
import { CliError, EXIT } from './exit.ts';
import { readDevices, verifyForPinning, type DevicesOfFile } from './policyPinDevices.ts';
import { stderr, stdout, wrap } from './terminal.ts';

export interface PinFlags {
  readonly chain?: readonly string[];
  readonly nonce?: string;
  readonly at?: string;
}

const EXAMPLES = [
  ['what the GPUs of a service measure', 'vouchsafe policy pin document.cbor > pins.json'],
  ['GPUs and switches of one machine', 'vouchsafe policy pin gpu_evidence.json switch_evidence.json'],
  ['one raw report', 'vouchsafe policy pin report.bin --chain chain.pem'],
  [
    'put the sets into a policy',
    "jq --slurpfile pins pins.json '.devices.nvidia.pinnedMeasurements += $pins[0].pinnedMeasurements' policy.json",
  ],
] as const;

const WORDS = `
Each device is verified first, against the published anchors: format,
certificates, signature, firmware id. One that does not verify refuses, and
nothing is printed. Then what it measures becomes what your policy accepts,
developer tools mode and tampered firmware included: take it from devices that
are known to be good. Revocation is not looked up.

Exit codes:
  0 pinned   2 a device does not verify   4 unreadable input   64 misuse
`;

export function pinCommand(): Command {
  return newCommand(
    'pin',
    'Print what verified GPUs and switches measure, as the member `pinnedMeasurements` of a policy',
    EXAMPLES,
  )
    .argument(
      '<file...>',
      'evidence document, bundle, attestation answer, request to NRAS, evidence of collectors (JSON), or device report',
    )
    .option(
      '--chain <file>',
      'certificates of a report that lies alone, leaf first; may be repeated',
      repeated,
    )
    .option('--nonce <hex>', 'refuse reports for another nonce (default: of a document its own, else any)')
    .option('--at <time>', 'verify for this time, ISO 8601 (default: now)')
    .addHelpText('after', WORDS)
    .action(runPin);
}

async function runPin(paths: readonly string[], flags: PinFlags): Promise<void> {
  const { sets, devices } = await pinFiles(paths, flags);
  for (const line of devices.flatMap((device) => wrap(deviceText(device), stderr.columns))) stderr.line(line);
  const isSimulated = devices.some(({ verified }) => verified.anchor.simulated);
  for (const line of isSimulated ? wrap(SIMULATED, stderr.columns) : []) stderr.line(stderr.c.yellow(line));
  stdout.json({ pinnedMeasurements: sets });
}

const SIMULATED =
  'SIMULATED devices are among them: anyone can make such evidence, and these values are worth nothing.';

const NONCES = {
  asked: 'for the nonce that you named',
  document: 'for the nonce of its document',
  any: 'for a nonce that was not compared',
} as const;

/** A device whose values are pinned. */
export interface PinnedDevice {
  /** Such as `device 0 of gpu_evidence.json`. */
  readonly subject: string;
  readonly verified: VerifiedDevice;
  /** With which nonce its report was compared. */
  readonly nonce: keyof typeof NONCES;
}

export interface Pinned {
  readonly sets: readonly PinnedMeasurements[];
  readonly devices: readonly PinnedDevice[];
}

/** What stands on the terminal for each device. */
export function deviceText({ subject, verified, nonce }: PinnedDevice): string {
  const { chip, serial, anchor } = verified;
  return `${subject}: ${chip} of serial ${toHex(serial)}, verified to ${anchor.name}, ${NONCES[nonce]}`;
}

/** Verifies every device of the files and pins what they measure; the first that does not verify refuses. */
export async function pinFiles(paths: readonly string[], flags: PinFlags): Promise<Pinned> {
  const [asked, now] = [nonceOf(flags.nonce?.toLowerCase()), timeOf(flags.at)];
  const [files, chain] = await Promise.all([
    Promise.all(paths.map(readDevices)),
    readCertificates(flags.chain ?? []),
  ]);
  checkChain(files, chain.length);
  const devices: PinnedDevice[] = [];
  for (const { path, devices: found, nonce, isBare } of files) {
    for (const [i, read] of found.entries()) {
      const subject = found.length === 1 ? path : `device ${i} of ${path}`;
      const verified = await orRefused(subject, () =>
        verifyForPinning(isBare ? { ...read(), certificates: chain } : read(), {
          nonce: asked ?? nonce,
          now,
        }),
      );
      devices.push({ subject, verified, nonce: asked ? 'asked' : nonce ? 'document' : 'any' });
    }
  }
  return { sets: checkedSets(devices.map(({ verified }) => verified)), devices };
}

/** A report is verified by its certificates, and those of one device are not those of another. */
function checkChain(files: readonly DevicesOfFile[], certificates: number): void {
  const bare = files.filter(({ isBare }) => isBare);
  const [first] = bare;
  if (first && certificates === 0) {
    throw new CliError(
      EXIT.misuse,
      `${first.path} is a report without its certificates: name them with --chain`,
    );
  }
  if (certificates > 0 && bare.length !== 1) {
    throw new CliError(
      EXIT.misuse,
      `--chain goes with one report that lies alone, and here are ${bare.length}`,
    );
  }
}

async function orRefused(subject: string, verify: () => Promise<VerifiedDevice>): Promise<VerifiedDevice> {
  try {
    return await verify();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const check = error.check === undefined ? '' : `${error.check} `;
    const message = `${subject} does not verify: ${check}${error.code}: ${error.message}`;
    throw new CliError(EXIT.refused, message, 'Nothing is pinned of a device that may be anyone’s.');
  }
}

/** What a policy would not take, a policy must not be given. */
function checkedSets(devices: readonly VerifiedDevice[]): readonly PinnedMeasurements[] {
  const sets = pinMeasurements(devices);
  const checked = nvidiaPolicySchema.shape.pinnedMeasurements.safeParse(sets);
  if (checked.success) return sets;
  const problems = checked.error.issues.map(
    ({ path, message }) => `${path.map(String).join('.')}: ${message}`,
  );
  throw new CliError(EXIT.refused, `no policy can hold what was measured: ${problems.join('; ')}`);
}
