import { toHex } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check, type CheckId } from '../../checks.ts';
import type { RefusalCode } from '../../errors.ts';
import { nearestReference } from '../../policy/nearestReference.ts';
import type { Reference } from '../../policy/shapes.ts';

/** What one field came to under the policy: as it demands, whatever it is, or not as it demands. */
export type Finding =
  | { readonly kind: 'met' | 'waived'; readonly reason: string }
  | { readonly kind: 'refused'; readonly code: RefusalCode; readonly reason: string };

export function met(reason: string): Finding {
  return { kind: 'met', reason };
}

export function waived(reason: string): Finding {
  return { kind: 'waived', reason };
}

export function refused(code: RefusalCode, reason: string): Finding {
  return { kind: 'refused', code, reason };
}

/**
 * One check of several fields. What speaks against the evidence counts before what is only unknown. Without a
 * failure the check passes where `proven` says that the fields met are enough for what a pass proves.
 */
export function conclude(
  id: CheckId,
  findings: readonly Finding[],
  proven: boolean = findings.some(({ kind }) => kind === 'met'),
): Check {
  const failures = findings.filter((finding) => finding.kind === 'refused');
  const [worst] = failures.toSorted((a, b) => Number(isUnknown(a.code)) - Number(isUnknown(b.code)));
  if (worst) return fail(id, 'cpu', worst.code, reasonsOf(failures));
  const reason = reasonsOf(findings);
  return proven ? pass(id, 'cpu', reason) : skip(id, 'cpu', 'NOT_REQUIRED', reason);
}

function isUnknown(code: RefusalCode): boolean {
  return code === 'REFERENCE_VALUES_MISSING';
}

function reasonsOf(findings: readonly Finding[]): string {
  return findings.map(({ reason }) => reason).join('; ');
}

/** Compares a measured value with the named ones. */
export function judgeReference(
  name: string,
  value: Uint8Array,
  accepted: 'any' | readonly Reference[],
): Finding {
  const seen = toHex(value);
  if (accepted === 'any') return waived(`${name} ${seen}: the policy accepts any`);
  const known = accepted.find((reference) => reference.value === seen);
  if (known) return met(`${name} ${seen} is ${known.name}`);
  const nearest = nearestReference(seen, accepted);
  if (!nearest) return refused('REFERENCE_VALUES_MISSING', `no reference value for ${name} ${seen}`);
  return refused(
    'MEASUREMENT_MISMATCH',
    `${name} is ${seen}; nearest of ${accepted.length} is ${nearest.name}: ${nearest.value}`,
  );
}

/** A bit that weakens what is protected: refused unless the policy accepts it. */
export function judgeWeakness(name: string, set: boolean, accepted: 'refused' | 'accepted'): Finding[] {
  if (!set) return [];
  const reason = `${name} is set`;
  return accepted === 'accepted'
    ? [waived(`${reason}, which the policy accepts`)]
    : [refused('GUEST_POLICY_VIOLATED', `${reason}, which the policy refuses`)];
}

/** A bit that protects: demanded where the policy requires it. */
export function judgeProtection(name: string, set: boolean, demanded: 'required' | 'any'): Finding[] {
  if (demanded === 'any') return [];
  return set
    ? [met(`${name} is set`)]
    : [refused('GUEST_POLICY_VIOLATED', `${name} is not set, which the policy requires`)];
}

/** Bits beyond those that the policy allows; `allowed` is a number in hex, most significant digit first. */
export function judgeMask(name: string, value: bigint, allowed: string): Finding {
  const seen = `${name} 0x${value.toString(16)}`;
  if (allowed === 'any') return waived(`${seen}: the policy accepts any`);
  const excess = value & ~BigInt(`0x${allowed}`);
  return excess === 0n
    ? met(`${seen} is within 0x${allowed}`)
    : refused('GUEST_POLICY_VIOLATED', `${seen} has bits 0x${excess.toString(16)} beyond 0x${allowed}`);
}
