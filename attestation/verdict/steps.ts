import { fail, pass, skip, type Check, type CheckId } from '../checks.ts';
import { Refusal } from '../errors.ts';

/** What one run of a verifier gave: its value, or the checks up to the one it broke. */
export interface StepResult<T> {
  readonly value: T | undefined;
  readonly checks: readonly Check[];
}

/**
 * Runs a verifier that makes its checks in the given order. Where it refuses, the checks before the one it names
 * have passed and those after it were not reached; a refusal that names none of them breaks the first.
 */
export async function runSteps<T>(
  order: readonly CheckId[],
  subject: string,
  verify: () => Promise<T> | T,
  describe: (value: T) => Partial<Record<CheckId, string>> = () => ({}),
): Promise<StepResult<T>> {
  try {
    const value = await verify();
    const reasons = describe(value);
    return { value, checks: order.map((id) => pass(id, subject, reasons[id] ?? 'verified')) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { value: undefined, checks: brokenAt(order, subject, error) };
  }
}

function brokenAt(order: readonly CheckId[], subject: string, refusal: Refusal): readonly Check[] {
  const named = refusal.check ? order.indexOf(refusal.check) : 0;
  const broken = named === -1 ? 0 : named;
  return order.map((id, i) => {
    if (i < broken) return pass(id, subject, 'verified');
    if (i === broken) return fail(id, subject, refusal.code, refusal.message);
    return notReached(id, subject, refusal.code);
  });
}

export function notReached(id: CheckId, subject: string, because: string): Check {
  return skip(id, subject, 'NOT_REACHED', `not reached: ${because}`);
}

/** Runs one step of a verifier; a refusal from below is given the check that it breaks. */
export async function atCheck<T>(check: CheckId, verify: () => Promise<T> | T): Promise<T> {
  try {
    return await verify();
  } catch (error) {
    if (error instanceof Refusal) throw new Refusal(error.code, error.message, check);
    throw error;
  }
}
