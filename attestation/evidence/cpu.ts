import type { Anchor } from '../anchors.ts';
import { equalBytes, toHex } from '../bytes/bytes.ts';
import { fail, pass, type Check, type CheckId } from '../checks.ts';
import type { SnpPolicy } from '../policy/policy.ts';
import { notReached, runSteps } from '../verdict/steps.ts';
import type { AppraisalContext } from './context.ts';
import type { CpuEvidence } from './evidence.ts';
import { appraiseSnp } from './snp/appraise.ts';
import { verifySnp, type VerifiedSnp } from './snp/verify.ts';

const VERIFIED_BY_ROOM: readonly CheckId[] = [
  'cpu.format',
  'cpu.chain',
  'cpu.revocation',
  'cpu.endorsement',
  'cpu.signature',
];
const APPRAISED: readonly CheckId[] = [
  'cpu.binding',
  'cpu.debug',
  'cpu.guest-policy',
  'cpu.privilege',
  'cpu.tcb',
  'cpu.identity',
  'cpu.measurement',
];

/** What the verdict knows of the CPU: the checks, and the anchor once a chain led to it. */
export interface AppraisedCpu {
  readonly checks: readonly Check[];
  readonly anchor: Anchor | undefined;
  readonly verified: VerifiedSnp | undefined;
}

/** Judges CPU evidence by the room of its platform; the report must carry exactly `expectedReportData`. */
export async function appraiseCpu(
  evidence: CpuEvidence,
  expectedReportData: Uint8Array,
  subject: string,
  context: AppraisalContext,
): Promise<AppraisedCpu> {
  const policy = context.policy.cpu[evidence.platform];
  if (policy === 'refused') {
    const reason = `the policy refuses platform ${evidence.platform}`;
    const rest = [...VERIFIED_BY_ROOM, ...APPRAISED].map((id) => notReached(id, subject, reason));
    const checks = [fail('cpu.platform', subject, 'PLATFORM_NOT_ALLOWED', reason), ...rest];
    return { checks, anchor: undefined, verified: undefined };
  }
  const platform = pass('cpu.platform', subject, `${evidence.platform} is named by the policy`);
  const judged = await appraiseSnpEvidence(evidence, policy, expectedReportData, subject, context);
  return { ...judged, checks: [platform, ...judged.checks] };
}

async function appraiseSnpEvidence(
  evidence: CpuEvidence,
  policy: SnpPolicy,
  expectedReportData: Uint8Array,
  subject: string,
  context: AppraisalContext,
): Promise<AppraisedCpu> {
  const { crypto, now, anchors, collateral } = context;
  const { value: verified, checks } = await runSteps(VERIFIED_BY_ROOM, subject, () =>
    verifySnp(evidence, { crypto, now, anchors, crls: collateral.crls, revocation: 'when-present' }),
  );
  if (!verified) {
    const rest = APPRAISED.map((id) => notReached(id, subject, 'the CPU report did not verify'));
    return { checks: [...checks, ...rest], anchor: undefined, verified };
  }
  const binding = checkBinding(verified.report.reportData, expectedReportData, subject);
  const known = verified.checks.map((check) => demandRevocation(check, verified, policy));
  const judged = [...known, binding, ...appraiseSnp(verified, policy)];
  return { checks: judged.map((check) => ({ ...check, subject })), anchor: verified.anchor, verified };
}

/**
 * A CRL that the policy demands and nobody supplied leaves the rest to be judged: evidence that is refused for
 * another reason must not come out as merely not judged.
 */
function demandRevocation(check: Check, { revocation }: VerifiedSnp, policy: SnpPolicy): Check {
  const { id, subject } = check;
  const wanting = revocation.status === 'not-supplied' && policy.revocation === 'required';
  if (id !== 'cpu.revocation' || !wanting) return check;
  return fail(
    id,
    subject,
    'COLLATERAL_MISSING',
    'the policy requires a CRL of the root and none was supplied',
  );
}

function checkBinding(received: Uint8Array, expected: Uint8Array, subject: string): Check {
  if (equalBytes(received, expected)) {
    return pass('cpu.binding', subject, 'report data commits to the statement and the devices');
  }
  const reason = `report data is ${toHex(received)}, the statement and devices give ${toHex(expected)}`;
  return fail('cpu.binding', subject, 'BINDING_MISMATCH', reason);
}
