import type { Command } from 'commander';
import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { mergeCollateral, NO_COLLATERAL, type Collateral } from '../../attestation/collateral.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import { parseAttestation } from '../client/attestation.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { kindOf } from './material.ts';
import { readPolicy } from './policyFile.ts';

/** Options by which every command that judges is told what to accept. */
export interface JudgingFlags {
  readonly policy?: string;
  readonly allowSimulated?: boolean;
  readonly collateral?: readonly string[];
}

export function addJudgingOptions(command: Command): Command {
  return command
    .option(
      '--policy <file>',
      'policy to judge under (default: the published one, see `vouchsafe policy show`)',
    )
    .option(
      '--allow-simulated',
      'accept exactly our simulated CPU and GPU, which protect nothing: development only',
    )
    .option(
      '--collateral <file...>',
      'further vendor statements: a CRL in DER, a bundle, or an attestation answer',
    );
}

export async function policyOf({ policy, allowSimulated = false }: JudgingFlags): Promise<Policy> {
  if (policy !== undefined && allowSimulated) {
    const advice = 'A policy names the components that may be simulated in its own member `simulated`.';
    throw new CliError(EXIT.misuse, '--policy and --allow-simulated exclude each other', advice);
  }
  if (policy !== undefined) return readPolicy(policy);
  return allowSimulated ? SIMULATED_POLICY : DEFAULT_POLICY;
}

export async function collateralOf({ collateral: files = [] }: JudgingFlags): Promise<Collateral> {
  const read = await Promise.all(files.map(readCollateral));
  return read.reduce(mergeCollateral, NO_COLLATERAL);
}

const DER_SEQUENCE = 0x30;

async function readCollateral(path: string): Promise<Collateral> {
  const bytes = await readInput(path);
  if (bytes[0] === DER_SEQUENCE) return { ...NO_COLLATERAL, crls: [bytes] };
  const kind = kindOf(bytes);
  if (kind === 'attestation') return parseAttestation(bytes).collateral;
  if (kind === 'bundle') return parseBundle(bytes).collateral;
  throw new CliError(EXIT.unreadable, `${path} holds no collateral that is known here`);
}
