import type { Anchor } from '../anchors.ts';
import { equalBytes, toHex, utf8 } from '../bytes/bytes.ts';
import { fail, pass, skip, type Check, type CheckId } from '../checks.ts';
import type { AppraisalContext } from '../evidence/context.ts';
import { runQuoteSteps } from '../evidence/dcap/steps.ts';
import { appraiseNitro, appraiseNitroTpm } from '../evidence/nitro/appraise.ts';
import { verifyNitro } from '../evidence/nitro/verify.ts';
import { checkReportData, NOT_VERIFIED, type CpuJudgement } from '../evidence/platforms/judgement.ts';
import { appraiseSnpAs, snpMachine, verifySnpSteps } from '../evidence/platforms/snp.ts';
import { appraiseTdxAs, registersOf, tdxMachine, verifyTdxSteps } from '../evidence/platforms/tdx.ts';
import { verifySgx } from '../evidence/sgx/verify.ts';
import { runSteps } from '../verdict/steps.ts';
import type { RawExpectation } from './appraise.ts';
import type { RawCpu } from './files.ts';

export type RawCpuJudgement = CpuJudgement;

const SUBJECT = 'cpu';

/** Judges one CPU report by its platform, with what the policy says of that platform. */
export async function judgeRawCpu(
  cpu: RawCpu,
  expected: RawExpectation,
  context: AppraisalContext,
): Promise<RawCpuJudgement> {
  const { platform } = cpu;
  const judged = await judgePlatform(cpu, expected, context);
  if (!judged) {
    const reason = `the policy refuses platform ${platform}`;
    return { checks: [fail('cpu.platform', SUBJECT, 'PLATFORM_NOT_ALLOWED', reason)], ...NOT_VERIFIED };
  }
  if (platform === 'sgx') return judged;
  const named = pass('cpu.platform', SUBJECT, `${platform} is named by the policy`);
  return { ...judged, checks: [named, ...judged.checks] };
}

async function judgePlatform(
  cpu: RawCpu,
  expected: RawExpectation,
  context: AppraisalContext,
): Promise<RawCpuJudgement | undefined> {
  const { policy } = context;
  switch (cpu.platform) {
    case 'snp':
      return policy.cpu.snp === 'refused' ? undefined : judgeSnp(cpu, policy.cpu.snp, expected, context);
    case 'tdx':
      return policy.cpu.tdx === 'refused' ? undefined : judgeTdx(cpu, policy.cpu.tdx, expected, context);
    case 'sgx':
      return judgeSgx(cpu.report, expected, context);
    case 'nitro':
    case 'nitrotpm':
      return judgeNitro(cpu, expected, context);
  }
}

type Of<P extends RawCpu['platform']> = Extract<RawCpu, { platform: P }>;
type Accepted<P extends 'snp' | 'tdx'> = Exclude<AppraisalContext['policy']['cpu'][P], 'refused'>;

async function judgeSnp(
  cpu: Of<'snp'>,
  policy: Accepted<'snp'>,
  { reportData }: RawExpectation,
  context: AppraisalContext,
): Promise<RawCpuJudgement> {
  const { value, checks } = await verifySnpSteps(cpu, policy, SUBJECT, context);
  const binding = checkData(value?.report.reportData, reportData);
  return {
    checks: [...checks, binding, ...appraiseSnpAs(SUBJECT, value, policy)],
    anchors: value ? [value.anchor] : [],
    machine: value && snpMachine(value),
  };
}

async function judgeTdx(
  cpu: Of<'tdx'>,
  policy: Accepted<'tdx'>,
  { reportData }: RawExpectation,
  context: AppraisalContext,
): Promise<RawCpuJudgement> {
  const { value, checks } = await verifyTdxSteps(cpu.report, SUBJECT, context);
  const binding = checkData(value?.report.reportData, reportData);
  return {
    checks: [...checks, binding, ...appraiseTdxAs(SUBJECT, value, policy)],
    anchors: value ? [value.anchor] : [],
    machine: value && tdxMachine(value),
    registers: value && registersOf(value.report),
  };
}

/** An enclave is verified so that its quote can be read; no policy names one as a platform of this service. */
async function judgeSgx(
  quote: Uint8Array,
  { reportData }: RawExpectation,
  { crypto, now, anchors, collateral, chainCache }: AppraisalContext,
): Promise<RawCpuJudgement> {
  const reason = 'an SGX enclave is no platform that a policy can name';
  const refused = fail('cpu.platform', SUBJECT, 'PLATFORM_NOT_ALLOWED', reason);
  const options = { crypto, now, anchors, collateral, chainCache };
  const { value, checks } = await runQuoteSteps(SUBJECT, () => verifySgx(quote, options));
  const binding = checkData(value?.report.reportData, reportData);
  const used: readonly Anchor[] = value ? [value.anchor] : [];
  return { checks: [refused, ...checks, binding], anchors: used, machine: value && utf8(value.pck.ppid) };
}

const NITRO_STEPS: readonly CheckId[] = ['cpu.format', 'cpu.chain', 'cpu.revocation', 'cpu.signature'];

async function judgeNitro(
  { platform, report }: Of<'nitro' | 'nitrotpm'>,
  expected: RawExpectation,
  { policy, crypto, now, anchors, chainCache }: AppraisalContext,
): Promise<RawCpuJudgement | undefined> {
  if (policy.cpu[platform] === 'refused') return undefined;
  const { value, checks } = await runSteps(NITRO_STEPS, SUBJECT, () =>
    verifyNitro(report, { crypto, now, anchors, chainCache }),
  );
  if (!value) return { checks, ...NOT_VERIFIED };
  const { document, anchor } = value;
  const { nitro, nitrotpm } = policy.cpu;
  const judged =
    document.kind === 'tpm'
      ? nitrotpm === 'refused'
        ? []
        : appraiseNitroTpm(value, nitrotpm)
      : nitro === 'refused'
        ? []
        : appraiseNitro(value, nitro);
  const bound = [checkData(document.userData, expected.reportData), ...checkNonce(document.nonce, expected)];
  return {
    checks: [...value.checks, ...bound, ...judged].map((check) => ({ ...check, subject: SUBJECT })),
    anchors: [anchor],
    machine: utf8(document.moduleId),
    ...(document.kind === 'tpm' && { registers: { kind: 'pcr', bank: 'sha384', values: document.pcrs } }),
  };
}

/** What the report was made for; only who asked for it knows. */
function checkData(found: Uint8Array | undefined, expected: Uint8Array | undefined): Check {
  if (expected) return checkReportData(found, expected, SUBJECT);
  const reason = 'raw evidence does not say for which keys it was made, and no report data was given';
  return skip('cpu.binding', SUBJECT, 'NOT_REQUESTED', reason);
}

function checkNonce(found: Uint8Array | undefined, { nonce }: RawExpectation): readonly Check[] {
  if (!nonce || (found && equalBytes(found, nonce))) return [];
  const seen = found ? toHex(found) : 'absent';
  return [fail('cpu.binding', SUBJECT, 'NONCE_MISMATCH', `nonce is ${seen}, expected ${toHex(nonce)}`)];
}
