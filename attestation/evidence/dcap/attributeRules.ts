import { kept, violated, waived, type Finding } from '../../policy/finding.ts';

/** A bit that weakens what is protected: refused unless the policy accepts it. */
export function judgeWeakness(name: string, set: boolean, accepted: 'refused' | 'accepted'): Finding[] {
  if (!set) return [];
  const reason = `${name} is set`;
  return accepted === 'accepted'
    ? [waived(`${reason}, which the policy accepts`)]
    : [violated('GUEST_POLICY_VIOLATED', `${reason}, which the policy refuses`)];
}

/** A bit that protects: demanded where the policy requires it. */
export function judgeProtection(name: string, set: boolean, demanded: 'required' | 'any'): Finding[] {
  if (demanded === 'any') return [];
  return set
    ? [kept(`${name} is set`)]
    : [violated('GUEST_POLICY_VIOLATED', `${name} is not set, which the policy requires`)];
}

/** Bits beyond those that the policy allows; `allowed` is a number in hex, most significant digit first. */
export function judgeMask(name: string, value: bigint, allowed: string): Finding {
  const seen = `${name} 0x${value.toString(16)}`;
  if (allowed === 'any') return waived(`${seen}: the policy accepts any`);
  const excess = value & ~BigInt(`0x${allowed}`);
  return excess === 0n
    ? kept(`${seen} is within 0x${allowed}`)
    : violated('GUEST_POLICY_VIOLATED', `${seen} has bits 0x${excess.toString(16)} beyond 0x${allowed}`);
}
