import { appraiseBundle, appraiseReceipt, conclude, type ReceiptResult } from './appraise.ts';
import { fail, type Check } from './checks.ts';
import type { AppraisalContext } from './evidence/context.ts';
import { parseDisclosure, type Disclosure } from './receipt/disclosure.ts';
import { appraiseOpenings, type ShownContent } from './receipt/openingsAppraisal.ts';
import { runSteps } from './verdict/steps.ts';
import { decide, tierOf } from './verdict/verdict.ts';

/** What the judge of a disclosure has besides it. */
export interface DisclosureBeside {
  /** The evidence document that the receipt cites, where the disclosure brings a receipt without its bundle. */
  readonly cited?: Uint8Array | undefined;
}

export interface DisclosureResult extends ReceiptResult {
  /** Content whose opening passed. Use it only when the verdict is accepted. */
  readonly shown: readonly ShownContent[];
}

/**
 * Judges what someone opens of a receipt: the receipt as ever, and each opened item as a check of its own. Items that
 * are not opened are skipped, never passed.
 */
export async function appraiseDisclosure(
  encoded: Uint8Array,
  { cited }: DisclosureBeside,
  context: AppraisalContext,
): Promise<DisclosureResult> {
  const parsed = await runSteps(['disclosure.format'], 'disclosure', () => parseDisclosure(encoded));
  const { value: disclosure, checks: format } = parsed;
  if (!disclosure) return { ...nothing(format, context), shown: [] };
  const { verdict, ...rest } = await appraiseSource(disclosure, cited, context);
  const openings = appraiseOpenings(disclosure, rest.receipt?.claims, context.crypto);
  const checks = [...format, ...verdict.checks, ...openings.checks];
  const judged = { ...verdict, decision: decide(checks), tier: tierOf(checks, verdict.simulated), checks };
  return { ...rest, verdict: judged, shown: openings.shown };
}

function appraiseSource(
  { source: { kind, bytes } }: Disclosure,
  cited: Uint8Array | undefined,
  context: AppraisalContext,
): Promise<ReceiptResult> {
  if (kind === 'bundle') return appraiseBundle(bytes, {}, context);
  if (cited) return appraiseReceipt(bytes, cited, {}, context);
  const reason = 'the disclosure brings a receipt alone, and the evidence that it cites was not given';
  const missing = fail('receipt.evidence', 'receipt', 'EVIDENCE_INCOMPLETE', reason);
  return Promise.resolve(nothing([missing], context));
}

/** Where nothing could be looked at. */
function nothing(checks: readonly Check[], context: AppraisalContext): ReceiptResult {
  return { verdict: conclude(checks, [], context, {}), receipt: undefined, times: {} };
}
