import { toHex } from '../bytes/bytes.ts';
import { fail, pass, skip, type Check, type CheckId } from '../checks.ts';
import type { RefusalCode } from '../errors.ts';
import type { Reference } from './shapes.ts';

/** What one rule of a policy came to, with the values compared: as it demands, whatever it is, or not as it demands. */
export type Finding =
  | { readonly kind: 'kept' | 'waived'; readonly reason: string }
  | { readonly kind: 'violated'; readonly code: RefusalCode; readonly reason: string };

export function kept(reason: string): Finding {
  return { kind: 'kept', reason };
}

/** The policy accepts it whatever it is, or although it is not so. */
export function waived(reason: string): Finding {
  return { kind: 'waived', reason };
}

export function violated(code: RefusalCode, reason: string): Finding {
  return { kind: 'violated', code, reason };
}

/**
 * One check of several rules; one violated rule fails it, and the reasons of all violated ones are given. What speaks
 * against the evidence gives the code; values that nobody supplied do only where nothing else does, for they leave the
 * verdict at «not judged». Without a failure the check passes where `proven` says that the rules kept are enough for
 * what a pass proves.
 */
export function conclude(
  id: CheckId,
  subject: string,
  findings: readonly Finding[],
  proven: boolean = findings.some(({ kind }) => kind === 'kept'),
): Check {
  const failures = findings.filter((finding) => finding.kind === 'violated');
  const decisive = failures.find(({ code }) => code !== 'REFERENCE_VALUES_MISSING') ?? failures[0];
  if (decisive) return fail(id, subject, decisive.code, reasonsOf(failures));
  const reason = reasonsOf(findings);
  return proven ? pass(id, subject, reason) : skip(id, subject, 'NOT_REQUIRED', reason);
}

/** Each reason once, in the order of the rules. */
function reasonsOf(findings: readonly Finding[]): string {
  return [...new Set(findings.map(({ reason }) => reason))].join('; ');
}

/** Whether a measured value is one of the named ones; `code` is the refusal of any other. */
export function judgeReference(
  name: string,
  value: Uint8Array,
  accepted: 'any' | readonly Reference[],
  code: RefusalCode = 'MEASUREMENT_MISMATCH',
): Finding {
  const seen = toHex(value);
  if (accepted === 'any') return waived(`${name} ${seen}: the policy accepts any`);
  const known = accepted.find((reference) => reference.value === seen);
  if (known) return kept(`${name} ${seen} is ${known.name}`);
  const nearest = nearestReference(seen, accepted);
  if (!nearest) return violated('REFERENCE_VALUES_MISSING', `no reference value for ${name} ${seen}`);
  return violated(
    code,
    `${name} is ${seen}; nearest of ${accepted.length} is ${nearest.name}: ${nearest.value}`,
  );
}

/** The reference with most hex digits in place: it exposes a value that was copied wrongly or cut. */
function nearestReference(seen: string, references: readonly Reference[]): Reference | undefined {
  const common = ({ value }: Reference) => Array.from(value).filter((digit, i) => digit === seen[i]).length;
  return references.toSorted((a, b) => common(b) - common(a))[0];
}

/** The check of the bit with which hardware says that the host may debug what it protects: it could read all of it. */
export function judgeDebugBit(bit: string, set: boolean, accepted: 'refused' | 'accepted'): Check {
  const id = 'cpu.debug';
  if (!set) return pass(id, 'cpu', `${bit} is 0: debugging is off`);
  if (accepted === 'refused') return fail(id, 'cpu', 'DEBUG_ENABLED', `${bit} is 1: debugging is on`);
  return skip(id, 'cpu', 'NOT_REQUIRED', `${bit} is 1: debugging is on, which the policy accepts`);
}
