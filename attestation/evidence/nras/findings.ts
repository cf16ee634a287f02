import { fail, pass, skip, type Check, type CheckId } from '../../checks.ts';
import type { RefusalCode } from '../../errors.ts';

/** What one rule came to, with the values compared. */
export type Finding =
  | { readonly result: 'kept' | 'waived'; readonly reason: string }
  | { readonly result: 'violated'; readonly reason: string; readonly code: RefusalCode };

export function kept(reason: string): Finding {
  return { result: 'kept', reason };
}

/** The policy accepts it although it is not so. */
export function waived(reason: string): Finding {
  return { result: 'waived', reason };
}

export function violated(code: RefusalCode, reason: string): Finding {
  return { result: 'violated', code, reason };
}

/** One check for all rules: the first violated one gives the code, and every violated one its reason. */
export function checkOf(id: CheckId, subject: string, findings: readonly Finding[]): Check {
  const violations = findings.flatMap((finding) => (finding.result === 'violated' ? [finding] : []));
  const [first] = violations;
  if (first) return fail(id, subject, first.code, reasons(violations));
  const waivers = findings.filter(({ result }) => result === 'waived');
  if (waivers.length > 0) return skip(id, subject, 'NOT_REQUIRED', reasons([...waivers, ...findings]));
  return pass(id, subject, reasons(findings));
}

function reasons(findings: readonly Finding[]): string {
  return [...new Set(findings.map(({ reason }) => reason))].join('; ');
}
