import type { Check, CheckId } from '../../../attestation/checks.ts';
import type { RefusalCode } from '../../../attestation/errors.ts';
import { NOT_JUDGED, type Decision } from '../../../attestation/verdict/verdict.ts';

/** Why something is not accepted. A manifest that is judged without a device has no check of a device. */
export interface Failure {
  readonly check: CheckId | 'manifest';
  readonly subject: string;
  readonly code: RefusalCode;
  readonly reason: string;
}

export function failuresIn(checks: readonly Check[]): readonly Failure[] {
  return checks.flatMap(({ id, subject, result, code, reason }) =>
    result === 'fail' ? [{ check: id, subject, code: code as RefusalCode, reason }] : [],
  );
}

/** As for verdicts: what is merely missing decides nothing beside a failure that speaks against the evidence. */
export function decisionOf(failures: readonly Failure[]): Decision {
  if (failures.length === 0) return 'accepted';
  return failures.every(isMissing) ? 'not-judged' : 'refused';
}

export function decidingOf(failures: readonly Failure[]): readonly Failure[] {
  const against = failures.filter((failure) => !isMissing(failure));
  return against.length > 0 ? against : failures;
}

function isMissing({ code }: Failure): boolean {
  return NOT_JUDGED.includes(code);
}
