import type { Command } from 'commander';
import type { Anchor } from '../../attestation/anchors.ts';
import type { Collateral } from '../../attestation/collateral.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import { readCollateral } from './collateralInput.ts';
import { repeated } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { anchorsWith } from './extraAnchors.ts';
import { readPolicy } from './policyFile.ts';

/** Options by which every command that judges is told what to accept. */
export interface JudgingFlags {
  readonly policy?: string;
  readonly allowSimulated?: boolean;
  readonly collateral?: readonly string[];
  readonly anchor?: readonly string[];
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
      'further vendor statements: a file of `collateral fetch`, certificates, CRLs, OCSP responses, TCB info and identities with their signers, a bundle, or an attestation answer',
    )
    .option(
      '--anchor <role:spki-sha256>',
      'trust this key as a root, too, which the verdict then says: a role such as tpm or amd-ark/genoa, and the digest that `vouchsafe inspect` shows of a certificate (may be repeated)',
      repeated,
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

/** The published anchors and those that were named. */
export function anchorsOf({ anchor = [] }: JudgingFlags): readonly Anchor[] {
  return anchorsWith(anchor);
}

export function collateralOf({ collateral: files = [] }: JudgingFlags): Promise<Collateral> {
  return readCollateral(files);
}
