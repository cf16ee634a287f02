import { fromHex } from '../../bytes/bytes.ts';
import type { Check } from '../../checks.ts';
import type { TdxPolicy } from '../../policy/tdx.ts';
import type { StepResult } from '../../verdict/steps.ts';
import type { AppraisalContext } from '../context.ts';
import { runQuoteSteps } from '../dcap/steps.ts';
import type { TdxEvidence } from '../evidence.ts';
import { appraiseTdx } from '../tdx/appraise.ts';
import type { TdReport } from '../tdx/parse.ts';
import { verifyTdx, type VerifiedTdx } from '../tdx/verify.ts';
import { appraiseReport, checkReportData, type BootRegisters, type CpuJudgement } from './judgement.ts';

/** Judges a TD quote that must carry exactly `expected` as report data. */
export async function judgeTdx(
  evidence: TdxEvidence,
  policy: TdxPolicy,
  expected: Uint8Array,
  subject: string,
  context: AppraisalContext,
): Promise<CpuJudgement> {
  const { value, checks } = await verifyTdxSteps(evidence.report, subject, context);
  const binding = checkReportData(value?.report.reportData, expected, subject);
  return {
    checks: [...checks, binding, ...appraiseTdxAs(subject, value, policy)],
    anchors: value ? [value.anchor] : [],
    machine: value && tdxMachine(value),
    registers: value && registersOf(value.report),
  };
}

/** The platform provisioning id names the machine; nothing in a quote names the TD on it. */
export function tdxMachine({ pck }: VerifiedTdx): Uint8Array {
  return fromHex(pck.ppid);
}

/** The checks of the quote alone, whatever it binds. */
export function verifyTdxSteps(
  quote: Uint8Array,
  subject: string,
  { crypto, now, anchors, collateral, chainCache }: AppraisalContext,
): Promise<StepResult<VerifiedTdx>> {
  const options = { crypto, now, anchors, collateral, chainCache };
  return runQuoteSteps(subject, () => verifyTdx(quote, options));
}

/** The checks under the policy; not reached where the report did not verify. */
export function appraiseTdxAs(
  subject: string,
  verified: VerifiedTdx | undefined,
  policy: TdxPolicy,
): readonly Check[] {
  return appraiseReport(subject, verified, (value) => appraiseTdx(value, policy));
}

export function registersOf({ rtmrs }: TdReport): BootRegisters {
  return { kind: 'rtmr', bank: 'sha384', values: new Map(rtmrs.entries()) };
}
