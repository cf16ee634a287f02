import type { Check, CheckId } from '../checks.ts';
import type { RefusalCode } from '../errors.ts';

export type Decision = 'accepted' | 'refused' | 'not-judged';
/** Tiers of AR4SI: trustworthiness as one word. */
export type Tier = 'affirming' | 'warning' | 'contraindicated' | 'none';
export type SimulatedComponent = 'cpu' | 'gpu';

/** What a relying party gets: the decision under its policy, and every check behind it. */
export interface Verdict {
  readonly version: 'vouchsafe/verdict/1';
  readonly decision: Decision;
  readonly tier: Tier;
  /** Components whose trust anchor is one of our published, worthless roots. */
  readonly simulated: readonly SimulatedComponent[];
  /** SHA-256 of the policy, lower-case hex. */
  readonly policyDigest: string;
  /** The time at which all windows were judged, ISO 8601: `upper`, or the time that the caller gave. */
  readonly judgedAt: string;
  /** The receipt and its evidence existed then at the latest, says somebody whom the caller trusts. ISO 8601. */
  readonly upper?: string;
  /** The evidence was made after it, says somebody whom the caller trusts. ISO 8601. */
  readonly lower?: string;
  readonly checks: readonly Check[];
}

/** Failures that say nothing against the evidence: something needed to judge it is not there. */
export const NOT_JUDGED: readonly RefusalCode[] = ['REFERENCE_VALUES_MISSING', 'COLLATERAL_MISSING'];

export function decide(checks: readonly Check[]): Decision {
  const failures = checks.filter(({ result }) => result === 'fail').map(({ code }) => code);
  if (failures.length === 0) return 'accepted';
  const onlyMissing = failures.every((code) => (NOT_JUDGED as readonly string[]).includes(code));
  return onlyMissing ? 'not-judged' : 'refused';
}

export function tierOf(checks: readonly Check[], simulated: readonly SimulatedComponent[]): Tier {
  switch (decide(checks)) {
    case 'refused':
      return 'contraindicated';
    case 'not-judged':
      return 'none';
    case 'accepted':
      return simulated.length > 0 || checks.some(isWarning) || checks.some(isWaived)
        ? 'warning'
        : 'affirming';
  }
}

/** What a policy may waive, but not without a warning: without it the evidence can be old or of any software. */
const WAIVED: readonly CheckId[] = [
  'document.nonce',
  'cpu.debug',
  'cpu.binding',
  'cpu.measurement',
  'device.vbios-reference',
  // A TPM of the host: no policy makes it protect memory.
  'limits.host-tpm',
];

function isWaived({ id, result }: Check): boolean {
  return result === 'skip' && WAIVED.includes(id);
}

/** A check that did not fail and still keeps the verdict from affirming. */
export function isWarning({ result, code }: Check): boolean {
  return result === 'skip' && (code === 'RECEIPT_UNCOVERED' || code === 'NONCE_MISMATCH');
}
