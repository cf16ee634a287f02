import type { Check } from '../../attestation/checks.ts';
import { Refusal, type RefusalCode } from '../../attestation/errors.ts';

/** What our verifier made of a case: no codes is accepted. */
export interface Outcome {
  /** Codes of everything that failed, in the order of the checks. */
  readonly codes: readonly RefusalCode[];
  /** The first reason, for a person. */
  readonly reason: string | undefined;
}

export const ACCEPTED: Outcome = { codes: [], reason: undefined };

export function outcomeOf(checks: readonly Check[]): Outcome {
  const failed = checks.filter(({ result }) => result === 'fail');
  const [first] = failed;
  return {
    codes: failed.map(({ code }) => code as RefusalCode),
    reason: first && `${first.id}: ${first.reason}`,
  };
}

/** A refusal outside any list of checks: a parser's, or a missing part. Anything else thrown is a fault of ours. */
export async function outcomeOr(judge: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await judge();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { codes: [error.code], reason: `${error.check ?? 'input'}: ${error.message}` };
  }
}
