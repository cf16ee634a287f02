import { createPublicKey, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { appraiseEvidence } from '../../attestation/appraise.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { mergeCollateral } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { endWithoutDevices } from '../main/ending.ts';
import { openHardware, readTpmKey } from '../main/hardware.ts';
import { sampleEvidence } from '../main/sampleEvidence.ts';
import { newCommand } from './command.ts';
import { readConfig } from './config.ts';
import { examine, type Examination } from './doctorExamination.ts';
import { printExamination } from './doctorText.ts';
import { CliError, EXIT, exitOfDecision } from './exit.ts';
import { addJudgingOptions, anchorsOf, collateralOf, policyOf, type JudgingFlags } from './judging.ts';
import { withSpinner } from './spinner.ts';
import { stderr, stdout } from './terminal.ts';
import { printVerdict } from './verdictText.ts';

interface DoctorFlags extends JudgingFlags {
  readonly config?: string;
  readonly collect?: boolean;
  readonly out?: string;
  readonly tpmKey?: string;
  readonly json?: boolean;
}

const EXAMPLES = [
  ['what this machine has, and what is in the way', 'vouchsafe doctor'],
  [
    'collect evidence once and judge it as a client would',
    'vouchsafe doctor --collect --policy policy.json --collateral machine.collateral',
  ],
  ['keep that evidence, to write a policy from it', 'vouchsafe doctor --collect --out evidence.cbor'],
  ['the key of a TPM, to issue a certificate for it', 'vouchsafe doctor --tpm-key tpm.pem'],
] as const;

const HELP = `
Exit codes:
  0 the service would start; with --collect: its evidence is accepted
  2 the evidence is refused   3 something is in the way; with --collect: the evidence is not judged
  4 unreadable configuration   64 misuse
`;

export function doctorCommand(): Command {
  const command = newCommand('doctor', 'Say what this machine offers, and what is in the way', EXAMPLES)
    .option('--config <file>', 'configuration file (default: vouchsafe.config.json, where there is one)')
    .option('--collect', 'collect evidence once, over keys that are thrown away, and judge it')
    .option('--out <file>', 'with --collect: write the evidence document')
    .option(
      '--tpm-key <file>',
      'write the attestation key of the TPM, PEM, for whoever issues its certificate',
    );
  return addJudgingOptions(command)
    .option('--json', 'print what was found as JSON')
    .addHelpText('after', HELP)
    .action(runDoctor);
}

async function runDoctor(flags: DoctorFlags): Promise<void> {
  const { config } = await readConfig(() => loadConfig({ file: flags.config, environment: process.env }));
  try {
    await examineAndReport(config, flags);
  } finally {
    endWithoutDevices('SIGKILL');
  }
}

async function examineAndReport(config: Config, flags: DoctorFlags): Promise<void> {
  if (flags.tpmKey !== undefined) return writeTpmKey(config, flags.tpmKey);
  // Files that the configuration names are read here.
  const examination = await readConfig(() =>
    withSpinner(stderr, 'Looking at this machine', () => examine(config)),
  );
  const verdict = flags.collect && examination.taken ? await collected(config, flags) : undefined;
  if (flags.json) stdout.json({ ...examination, ...(verdict && { verdict }) });
  else {
    printExamination(stdout, examination);
    if (verdict) printVerdict(stdout, verdict, { verbose: false });
  }
  process.exitCode = exitOf(examination, verdict);
}

/** The key is made anew from the seed of the TPM each time, and is the same until the TPM is cleared. */
async function writeTpmKey(config: Config, path: string): Promise<void> {
  const spki = await withSpinner(stderr, 'Asking the TPM', () => readTpmKey(config)).catch(asUnusable);
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  await writeFile(path, key.export({ format: 'pem', type: 'spki' }));
  stderr.line(`attestation key ${toHex(nodeCrypto.hash('sha256', spki))}`);
}

/** A failure of the hardware, which says what to do about it. */
function asUnusable(error: unknown): never {
  const { code, advice } = error as { readonly code?: unknown; readonly advice?: unknown };
  if (!(error instanceof Error) || typeof code !== 'string' || typeof advice !== 'string') throw error;
  throw new CliError(EXIT.notJudged, `${code}: ${error.message}`, advice);
}

function exitOf({ taken }: Examination, verdict: Verdict | undefined): number {
  if (!taken) return EXIT.notJudged;
  return verdict ? exitOfDecision(verdict.decision) : EXIT.accepted;
}

/** Collects with the collector of the service and judges with the verifier of its clients. */
async function collected(config: Config, flags: DoctorFlags): Promise<Verdict> {
  const [policy, supplied] = await Promise.all([policyOf(flags), collateralOf(flags)]);
  const nonce = randomBytes(32);
  const hardware = await openHardware(config).catch(asUnusable);
  try {
    const sample = () => sampleEvidence(hardware, config.server.name, nonce, Date.now());
    const document = await withSpinner(stderr, 'Collecting evidence', sample).catch(asUnusable);
    if (flags.out !== undefined) await writeFile(flags.out, document);
    const collateral = mergeCollateral(supplied, await hardware.collateral());
    const context = { policy, collateral, anchors: anchorsOf(flags), now: Date.now(), crypto: nodeCrypto };
    const { verdict } = await appraiseEvidence(document, { nonce, index: 0, path: [] }, context);
    return verdict;
  } finally {
    await hardware.close();
  }
}
