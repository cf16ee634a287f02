import { concat } from '../../bytes/bytes.ts';
import { fail, type Check, type CheckId } from '../../checks.ts';
import type { SnpPolicy } from '../../policy/snp.ts';
import { runSteps, type StepResult } from '../../verdict/steps.ts';
import type { AppraisalContext } from '../context.ts';
import type { SnpEvidence } from '../evidence.ts';
import { appraiseSnp } from '../snp/appraise.ts';
import { completeSnpChain } from '../snp/complete.ts';
import { verifySnp, type VerifiedSnp } from '../snp/verify.ts';
import { appraiseReport, checkReportData, withoutRevocation, type CpuJudgement } from './judgement.ts';

const VERIFIED: readonly CheckId[] = [
  'cpu.format',
  'cpu.chain',
  'cpu.revocation',
  'cpu.endorsement',
  'cpu.signature',
];
/** Judges an SNP report that must carry exactly `expected` as report data. */
export async function judgeSnp(
  evidence: SnpEvidence,
  policy: SnpPolicy,
  expected: Uint8Array,
  subject: string,
  context: AppraisalContext,
): Promise<CpuJudgement> {
  const { value, checks } = await verifySnpSteps(evidence, policy, subject, context);
  const binding = checkReportData(value?.report.reportData, expected, subject);
  return {
    checks: [...checks, binding, ...appraiseSnpAs(subject, value, policy)],
    anchors: value ? [value.anchor] : [],
    machine: value && snpMachine(value),
  };
}

/** Under a VLEK the chip id is masked; the report id names the running guest. */
export function snpMachine({ report }: VerifiedSnp): Uint8Array {
  return concat(report.chipId, report.reportId);
}

/** The checks of the report alone, whatever it binds. */
export async function verifySnpSteps(
  evidence: Pick<SnpEvidence, 'report' | 'certificates'>,
  policy: SnpPolicy,
  subject: string,
  { crypto, now, anchors, collateral, chainCache }: AppraisalContext,
): Promise<StepResult<VerifiedSnp>> {
  const { report } = evidence;
  const certificates = completeSnpChain(report, evidence.certificates, collateral.certificates);
  const revocation = { crls: collateral.crls, revocation: 'when-present' } as const;
  const { value, checks } = await runSteps(VERIFIED, subject, () =>
    verifySnp({ report, certificates }, { crypto, now, anchors, chainCache, ...revocation }),
  );
  if (!value) return { value, checks: withoutRevocation(checks) };
  const made = value.checks.map((check) => demandRevocation({ ...check, subject }, value, policy));
  return { value, checks: made };
}

/** The checks under the policy; not reached where the report did not verify. */
export function appraiseSnpAs(
  subject: string,
  verified: VerifiedSnp | undefined,
  policy: SnpPolicy,
): readonly Check[] {
  return appraiseReport(subject, verified, (value) => appraiseSnp(value, policy));
}

/**
 * A CRL that the policy demands and nobody supplied leaves the rest to be judged: evidence that is refused for
 * another reason must not come out as merely not judged.
 */
function demandRevocation(check: Check, { revocation }: VerifiedSnp, policy: SnpPolicy): Check {
  const { id, subject } = check;
  const wanting = revocation.status === 'not-supplied' && policy.revocation === 'required';
  if (id !== 'cpu.revocation' || !wanting) return check;
  const reason = 'the policy requires a CRL of the root and none was supplied';
  return fail(id, subject, 'COLLATERAL_MISSING', reason);
}
