import { fail, type Check, type CheckId } from '../../checks.ts';
import type { RefusalCode } from '../../errors.ts';

/** Every check of this room is of the one CPU. */
export const SUBJECT = 'cpu';

/** What one rule of the policy came to, with the values compared. */
export interface Finding {
  /** Undefined where the report keeps the rule. */
  readonly violated: RefusalCode | undefined;
  readonly reason: string;
}

export function kept(reason: string): Finding {
  return { violated: undefined, reason };
}

export function violated(code: RefusalCode, reason: string): Finding {
  return { violated: code, reason };
}

/** The reasons of all, for one check. */
export function reasons(findings: readonly Finding[]): string {
  return findings.map(({ reason }) => reason).join('; ');
}

/**
 * One failed check for all violated rules, undefined without any. What speaks against the report gives the code;
 * values that nobody supplied do only where nothing else does, for they leave the verdict at «not judged».
 */
export function failOf(id: CheckId, findings: readonly Finding[]): Check | undefined {
  const failures = findings.flatMap(({ violated: code, reason }) => (code ? [{ code, reason }] : []));
  const [first] = failures;
  if (!first) return undefined;
  const decisive = failures.find(({ code }) => code !== 'REFERENCE_VALUES_MISSING') ?? first;
  return fail(id, SUBJECT, decisive.code, failures.map(({ reason }) => reason).join('; '));
}
