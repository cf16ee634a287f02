import type { Anchor } from '../../anchors.ts';
import { fail, type Check, type CheckId } from '../../checks.ts';
import type { AzurePolicy } from '../../policy/azure.ts';
import type { AzureSnpPolicy, AzureTdxPolicy } from '../../policy/cpu.ts';
import { notReached, runSteps, type StepResult } from '../../verdict/steps.ts';
import { appraiseRuntimeClaims, checkUserData } from '../azure/appraise.ts';
import { parseHclReport, type HclReport } from '../azure/parse.ts';
import { verifyRuntimeClaims, type VerifiedRuntimeClaims } from '../azure/verify.ts';
import type { AppraisalContext } from '../context.ts';
import type { AzureSnpEvidence, AzureTdxEvidence } from '../evidence.ts';
import type { VouchedKey } from '../tpm/ak.ts';
import { rsaSpki } from '../tpm/key.ts';
import { NOT_VERIFIED, type CpuJudgement } from './judgement.ts';
import { appraiseSnpAs, snpMachine, verifySnpSteps } from './snp.ts';
import { appraiseTdxAs, tdxMachine, verifyTdxSteps } from './tdx.ts';
import { judgeVtpm, registersOf, verifyVtpm, vtpmNotReached, type VtpmSteps } from './vtpm.ts';

type AzureEvidence = AzureSnpEvidence | AzureTdxEvidence;

/** The CPU report below the paravisor, whichever CPU it is of. */
interface Hardware {
  readonly checks: readonly Check[];
  /** Undefined where it did not verify. */
  readonly reportData: Uint8Array | undefined;
  readonly anchors: readonly Anchor[];
  readonly machine: Uint8Array | undefined;
}

/** What can be said of an Azure VM before anything is compared with a statement of ours. */
export interface AzureSteps {
  readonly hardware: Hardware;
  /** Form of the HCL report, and whether the hardware commits to its claims. */
  readonly paravisor: StepResult<VerifiedRuntimeClaims>;
  readonly vtpm: VtpmSteps;
}

/**
 * Verifies hardware report, runtime claims and the virtual TPM's quote, each by the one before it: the hardware signs
 * the digest of the claims, the claims name the key of the TPM, that key signs the quote.
 */
export async function verifyAzureSnp(
  evidence: AzureSnpEvidence,
  policy: AzureSnpPolicy,
  subject: string,
  context: AppraisalContext,
): Promise<AzureSteps> {
  return verifyLayers(evidence, policy, subject, context, async ({ platform, hardwareReport }) => {
    if (platform !== 'snp') return wrongHardware(evidence, platform, subject);
    const { certificates } = evidence;
    const report = { report: hardwareReport, certificates };
    const { value, checks } = await verifySnpSteps(report, policy.snp, subject, context);
    return {
      checks: [...checks, ...appraiseSnpAs(subject, value, policy.snp)],
      reportData: value?.report.reportData,
      anchors: value ? [value.anchor] : [],
      machine: value && snpMachine(value),
    };
  });
}

/** The same over TDX: the TDREPORT in the HCL report counts only through the quote that was made of it. */
export async function verifyAzureTdx(
  evidence: AzureTdxEvidence,
  policy: AzureTdxPolicy,
  subject: string,
  context: AppraisalContext,
): Promise<AzureSteps> {
  return verifyLayers(evidence, policy, subject, context, async ({ platform }) => {
    if (platform !== 'tdx') return wrongHardware(evidence, platform, subject);
    const { value, checks } = await verifyTdxSteps(evidence.quote, subject, context);
    return {
      checks: [...checks, ...appraiseTdxAs(subject, value, policy.tdx)],
      reportData: value?.report.reportData,
      anchors: value ? [value.anchor] : [],
      machine: value && tdxMachine(value),
    };
  });
}

async function verifyLayers(
  { report, tpm }: AzureEvidence,
  policy: AzureSnpPolicy | AzureTdxPolicy,
  subject: string,
  context: AppraisalContext,
  verifyHardware: (report: HclReport) => Promise<Hardware> | Hardware,
): Promise<AzureSteps> {
  const parsed = await runSteps(
    ['cpu.format'],
    paravisorOf(subject),
    () => parseHclReport(report),
    ({ version, platform }) => ({ 'cpu.format': `HCL report of version ${version} over ${platform}` }),
  );
  const hcl = parsed.value;
  const hardware = hcl
    ? await verifyHardware(hcl)
    : refusedHardware(notReached('cpu.format', subject, NO_HCL));
  const claims = await verifyClaims(hcl, hardware.reportData, subject, context);
  const vtpm = claims.value
    ? await verifyVtpm(tpm, claimedKey(claims.value), ['azure-vtpm'], policy.tpm, vtpmOf(subject), context)
    : vtpmNotReached(vtpmOf(subject), 'no verified claims name its key');
  return { hardware, paravisor: { ...claims, checks: [...parsed.checks, ...claims.checks] }, vtpm };
}

const NO_HCL = 'the HCL report was refused';

function paravisorOf(subject: string): string {
  return `${subject} paravisor`;
}

function vtpmOf(subject: string): string {
  return `${subject} vtpm`;
}

function refusedHardware(check: Check): Hardware {
  return { checks: [check], reportData: undefined, ...NOT_VERIFIED };
}

function wrongHardware({ platform }: AzureEvidence, found: HclReport['platform'], subject: string): Hardware {
  const reason = `the HCL report holds ${found} hardware, the evidence says ${platform}`;
  return refusedHardware(fail('cpu.format', subject, 'PRODUCT_MISMATCH', reason));
}

async function verifyClaims(
  hcl: HclReport | undefined,
  reportData: Uint8Array | undefined,
  subject: string,
  { crypto }: AppraisalContext,
): Promise<StepResult<VerifiedRuntimeClaims>> {
  const id = 'cpu.runtime-claims';
  if (hcl && reportData) {
    return runSteps(
      [id],
      paravisorOf(subject),
      () => verifyRuntimeClaims(hcl, reportData, crypto),
      ({ checks }) => Object.fromEntries(checks.map(({ id: made, reason }) => [made, reason])),
    );
  }
  const because = hcl ? 'the hardware report did not verify' : NO_HCL;
  return { value: undefined, checks: [notReached(id, paravisorOf(subject), because)] };
}

function claimedKey({ claims }: VerifiedRuntimeClaims): VouchedKey {
  const { n, e } = claims.ak;
  return { spki: rsaSpki(n, e), source: 'HCLAkPub of the runtime claims' };
}

const PARAVISOR_APPRAISED: readonly CheckId[] = ['cpu.binding', 'cpu.guest-policy', 'cpu.identity'];

/** Adds what the policy and the binding say: `user-data` is `expected`, `extraData` its SHA-256. */
export function judgeAzure(
  { hardware, paravisor, vtpm }: AzureSteps,
  { tpm }: AzureEvidence,
  policy: AzureSnpPolicy | AzureTdxPolicy,
  expected: Uint8Array,
  subject: string,
  context: AppraisalContext,
): CpuJudgement {
  const checks = [
    ...hardware.checks,
    ...paravisor.checks,
    ...judgeClaims(paravisor.value, policy.claims, expected, paravisorOf(subject)),
    ...judgeVtpm(vtpm, policy.tpm, expected, vtpmOf(subject), context),
  ];
  if (!vtpm.verified) return { checks, ...NOT_VERIFIED };
  const { anchor } = vtpm.verified.ak;
  return {
    checks,
    anchors: [...hardware.anchors, ...(anchor ? [anchor] : [])],
    machine: hardware.machine,
    registers: registersOf(vtpm.verified, tpm.pcrs),
  };
}

function judgeClaims(
  claims: VerifiedRuntimeClaims | undefined,
  policy: AzurePolicy,
  expected: Uint8Array,
  subject: string,
): readonly Check[] {
  if (!claims) return PARAVISOR_APPRAISED.map((id) => notReached(id, subject, 'the claims did not verify'));
  const judged = [checkUserData(claims, expected, policy), ...appraiseRuntimeClaims(claims, policy)];
  return judged.map((check) => ({ ...check, subject }));
}
