import { fail, pass, type Check, type CheckId } from '../../checks.ts';
import { Refusal } from '../../errors.ts';
import { notReached, runSteps, type StepResult } from '../../verdict/steps.ts';

/** What `verifyQuote` checks, in the order of the list of checks. */
export const QUOTE_STEPS: readonly CheckId[] = [
  'cpu.format',
  'cpu.chain',
  'cpu.revocation',
  'cpu.collateral',
  'cpu.endorsement',
  'cpu.signature',
  'cpu.quoting-enclave',
];

/** What one verification came to. */
export interface QuoteOutcome {
  /** The failure that refuses the quote. */
  readonly refusal: Refusal | undefined;
  /** Why Intel's statements cannot be used, where the quote itself can be judged without them. */
  readonly wanting: Refusal | undefined;
  /** Steps that could not be made whole; they are never shown as passed. */
  readonly unmade: readonly CheckId[];
  /** Values compared, by step. */
  readonly reasons: Partial<Record<CheckId, string>>;
}

/** Every step with what is true of it; a refusal that names none of them breaks the first. */
export function describeSteps({ refusal, wanting, unmade, reasons }: QuoteOutcome): readonly Check[] {
  const broken = refusal
    ? Math.max(
        0,
        QUOTE_STEPS.findIndex((id) => id === refusal.check),
      )
    : Infinity;
  return QUOTE_STEPS.map((id, i) => {
    if (refusal && i === broken) return fail(id, 'cpu', refusal.code, refusal.message);
    if (refusal && i > broken) return notReached(id, 'cpu', refusal.code);
    if (wanting && id === wanting.check) return fail(id, 'cpu', wanting.code, wanting.message);
    if (unmade.includes(id)) return notReached(id, 'cpu', (wanting ?? refusal)?.code ?? 'no collateral');
    return pass(id, 'cpu', reasons[id] ?? 'verified');
  });
}

/** A refused quote, with every step. */
export class QuoteRefusal extends Refusal {
  readonly checks: readonly Check[];

  constructor(refusal: Refusal, checks: readonly Check[]) {
    super(refusal.code, refusal.message, refusal.check);
    this.checks = checks;
  }
}

/**
 * Runs `verifyTdx` or `verifySgx` as steps. Where collateral is wanting, the value is there and one step has failed;
 * where the quote is refused besides, the steps say both.
 */
export async function runQuoteSteps<T extends { readonly checks: readonly Check[] }>(
  subject: string,
  verify: () => Promise<T>,
): Promise<StepResult<T>> {
  const named = (checks: readonly Check[]) => checks.map((check) => ({ ...check, subject }));
  try {
    const value = await verify();
    return { value, checks: named(value.checks) };
  } catch (error) {
    if (error instanceof QuoteRefusal) return { value: undefined, checks: named(error.checks) };
    return runSteps<T>(QUOTE_STEPS, subject, () => {
      throw error;
    });
  }
}
