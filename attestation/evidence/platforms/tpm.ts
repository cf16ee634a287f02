import type { TpmPolicy } from '../../policy/tpm.ts';
import type { AppraisalContext } from '../context.ts';
import type { TpmEvidence } from '../evidence.ts';
import { hostTpmLimit } from '../tpm/appraise.ts';
import { NOT_VERIFIED, type CpuJudgement } from './judgement.ts';
import { judgeVtpm, registersOf, verifyVtpm } from './vtpm.ts';

/** Judges a TPM that stands alone. It is the host's: the verdict says that it protects no memory. */
export async function judgeTpm(
  { platform, tpm }: TpmEvidence,
  policy: TpmPolicy,
  expected: Uint8Array,
  subject: string,
  context: AppraisalContext,
): Promise<CpuJudgement> {
  // A platform has the name of the role that vouches for its keys.
  const steps = await verifyVtpm(tpm, undefined, [platform], policy, subject, context);
  const checks = [...judgeVtpm(steps, policy, expected, subject, context), hostTpmLimit(subject)];
  const { verified } = steps;
  if (!verified) return { checks, ...NOT_VERIFIED };
  const { anchor, spki } = verified.ak;
  return {
    checks,
    anchors: anchor ? [anchor] : [],
    machine: spki,
    registers: registersOf(verified, tpm.pcrs),
  };
}
