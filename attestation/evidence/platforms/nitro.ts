import { utf8 } from '../../bytes/bytes.ts';
import type { Check, CheckId } from '../../checks.ts';
import type { NitroPolicy, NitroTpmPolicy } from '../../policy/nitro.ts';
import { notReached, runSteps } from '../../verdict/steps.ts';
import type { AppraisalContext } from '../context.ts';
import type { NitroEvidence } from '../evidence.ts';
import { appraiseNitro, appraiseNitroTpm, checkNitroBinding } from '../nitro/appraise.ts';
import { verifyNitro, type VerifiedNitro } from '../nitro/verify.ts';
import { NOT_VERIFIED, withoutRevocation, type CpuJudgement } from './judgement.ts';

const STEPS: readonly CheckId[] = ['cpu.format', 'cpu.chain', 'cpu.revocation', 'cpu.signature'];

/** What a policy says of a verified document, and the checks that it makes. */
interface Appraisal {
  readonly ids: readonly CheckId[];
  readonly appraise: (verified: VerifiedNitro) => readonly Check[];
}

/** Judges a document of an enclave, whose `user_data` must be exactly `expected`. */
export function judgeNitro(
  evidence: NitroEvidence,
  policy: NitroPolicy,
  expected: Uint8Array,
  subject: string,
  context: AppraisalContext,
): Promise<CpuJudgement> {
  const ids: readonly CheckId[] = ['document.time', 'cpu.debug', 'cpu.identity', 'cpu.measurement'];
  const appraise = (verified: VerifiedNitro) => appraiseNitro(verified, policy);
  return judgeDocument(evidence, { ids, appraise }, expected, subject, context);
}

/** The same for a document of NitroTPM: what it says holds as far as the hypervisor is believed. */
export function judgeNitroTpm(
  evidence: NitroEvidence,
  policy: NitroTpmPolicy,
  expected: Uint8Array,
  subject: string,
  context: AppraisalContext,
): Promise<CpuJudgement> {
  const ids: readonly CheckId[] = ['document.time', 'cpu.identity', 'cpu.measurement'];
  const appraise = (verified: VerifiedNitro) => appraiseNitroTpm(verified, policy);
  return judgeDocument(evidence, { ids, appraise }, expected, subject, context);
}

async function judgeDocument(
  { report }: NitroEvidence,
  { ids, appraise }: Appraisal,
  expected: Uint8Array,
  subject: string,
  { crypto, now, anchors, chainCache }: AppraisalContext,
): Promise<CpuJudgement> {
  const { value: verified, checks } = await runSteps(STEPS, subject, () =>
    verifyNitro(report, { crypto, now, anchors, chainCache }),
  );
  if (!verified) {
    const rest = ['cpu.binding' as const, ...ids].map((id) =>
      notReached(id, subject, 'the document did not verify'),
    );
    return { checks: [...withoutRevocation(checks), ...rest], ...NOT_VERIFIED };
  }
  const { document, anchor } = verified;
  const judged = [...verified.checks, checkNitroBinding(verified, expected), ...appraise(verified)];
  return {
    checks: judged.map((check) => ({ ...check, subject })),
    anchors: [anchor],
    machine: utf8(document.moduleId),
    ...(document.kind === 'tpm' && { registers: { kind: 'pcr', bank: 'sha384', values: document.pcrs } }),
  };
}
