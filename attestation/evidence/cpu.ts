import { fail, pass } from '../checks.ts';
import type { AppraisalContext } from './context.ts';
import type { CpuEvidence } from './evidence.ts';
import { judgeAzure, verifyAzureSnp, verifyAzureTdx } from './platforms/azure.ts';
import { NOT_VERIFIED, type CpuJudgement } from './platforms/judgement.ts';
import { judgeNitro, judgeNitroTpm } from './platforms/nitro.ts';
import { judgeSnp } from './platforms/snp.ts';
import { judgeTdx } from './platforms/tdx.ts';
import { judgeTpm } from './platforms/tpm.ts';

/** Judges CPU evidence by its platform; it must commit to exactly `expected`, 64 bytes. */
export async function appraiseCpu(
  evidence: CpuEvidence,
  expected: Uint8Array,
  subject: string,
  context: AppraisalContext,
): Promise<CpuJudgement> {
  const { platform } = evidence;
  const judged = await judgePlatform(evidence, expected, subject, context);
  if (!judged) {
    const reason = `the policy refuses platform ${platform}`;
    return { checks: [fail('cpu.platform', subject, 'PLATFORM_NOT_ALLOWED', reason)], ...NOT_VERIFIED };
  }
  const named = pass('cpu.platform', subject, `${platform} is named by the policy`);
  return { ...judged, checks: [named, ...judged.checks] };
}

/** Undefined where the policy refuses the platform. */
async function judgePlatform(
  evidence: CpuEvidence,
  expected: Uint8Array,
  subject: string,
  context: AppraisalContext,
): Promise<CpuJudgement | undefined> {
  const { cpu } = context.policy;
  switch (evidence.platform) {
    case 'snp':
      return accepted(cpu.snp, (policy) => judgeSnp(evidence, policy, expected, subject, context));
    case 'tdx':
      return accepted(cpu.tdx, (policy) => judgeTdx(evidence, policy, expected, subject, context));
    case 'nitro':
      return accepted(cpu.nitro, (policy) => judgeNitro(evidence, policy, expected, subject, context));
    case 'nitrotpm':
      return accepted(cpu.nitrotpm, (policy) => judgeNitroTpm(evidence, policy, expected, subject, context));
    case 'azure-snp':
      return accepted(cpu['azure-snp'], async (policy) => {
        const steps = await verifyAzureSnp(evidence, policy, subject, context);
        return judgeAzure(steps, evidence, policy, expected, subject, context);
      });
    case 'azure-tdx':
      return accepted(cpu['azure-tdx'], async (policy) => {
        const steps = await verifyAzureTdx(evidence, policy, subject, context);
        return judgeAzure(steps, evidence, policy, expected, subject, context);
      });
    case 'gcp-vtpm':
    case 'tpm':
      return accepted(cpu[evidence.platform], (policy) =>
        judgeTpm(evidence, policy, expected, subject, context),
      );
  }
}

function accepted<P extends object>(
  policy: P | 'refused',
  judge: (policy: P) => Promise<CpuJudgement>,
): Promise<CpuJudgement> | undefined {
  return policy === 'refused' ? undefined : judge(policy);
}
