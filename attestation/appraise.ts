import { toHex } from './bytes/bytes.ts';
import { parseBundle, type Bundle } from './bundle/bundle.ts';
import { appraiseCoverage } from './bundle/coverage.ts';
import { skip, type Check } from './checks.ts';
import { mergeCollateral } from './collateral.ts';
import {
  appraiseDocument,
  checkKeysetTime,
  checkNonceProof,
  referenceLibrary,
  type DocumentAppraisal,
  type NonceProof,
} from './evidence/appraise.ts';
import { forOneAppraisal, type AppraisalContext } from './evidence/context.ts';
import { policyDigest } from './policy/digest.ts';
import { appraiseReceiptClaims, type Exchange } from './receipt/appraise.ts';
import type { ParsedReceipt } from './receipt/receipt.ts';
import { runSteps } from './verdict/steps.ts';
import { decide, tierOf, type SimulatedComponent, type Verdict } from './verdict/verdict.ts';

export interface EvidenceResult {
  readonly verdict: Verdict;
  /** Use its keyset only when the verdict is accepted. */
  readonly appraisal: DocumentAppraisal;
}

/**
 * Judges a live evidence document: hardware, binding, the asker's nonce and the keyset's end.
 * Bad input gives a refusing verdict; it throws only for misuse.
 */
export async function appraiseEvidence(
  document: Uint8Array,
  nonce: NonceProof | undefined,
  context: AppraisalContext,
): Promise<EvidenceResult> {
  const appraisal = await appraiseDocument(document, '', forOneAppraisal(context));
  const live: Check[] = appraisal.document
    ? [checkNonceProof(appraisal.document, nonce, context), checkKeysetTime(appraisal.document, context)]
    : [];
  const checks = [...appraisal.checks, ...live, relayLimit()];
  return { verdict: conclude(checks, appraisal.simulated, context), appraisal };
}

export interface ReceiptResult {
  readonly verdict: Verdict;
  /** Undefined unless its signature verified under the keyset of the cited document. */
  readonly receipt: ParsedReceipt | undefined;
}

/** Judges a receipt with the document that it cites, before a later one covers it: at best a warning. */
export async function appraiseReceipt(
  receipt: Uint8Array,
  cited: Uint8Array,
  exchange: Exchange,
  context: AppraisalContext,
): Promise<ReceiptResult> {
  return appraiseParts([], { receipt, cited, covering: undefined }, exchange, context);
}

/**
 * Judges a bundle offline. Its collateral is used, for vendors sign it; its own policy and verdict are not.
 * The caller's collateral goes before the bundle's.
 */
export async function appraiseBundle(
  encoded: Uint8Array,
  exchange: Exchange,
  context: AppraisalContext,
): Promise<ReceiptResult> {
  const { value: bundle, checks } = await runSteps(['bundle.format'], 'bundle', () => parseBundle(encoded));
  if (!bundle) return { verdict: conclude(checks, [], context), receipt: undefined };
  const collateral = mergeCollateral(context.collateral, bundle.collateral);
  return appraiseParts(checks, bundle, exchange, { ...context, collateral });
}

async function appraiseParts(
  leading: readonly Check[],
  bundle: Pick<Bundle, 'receipt' | 'cited' | 'covering'>,
  exchange: Exchange,
  given: AppraisalContext,
): Promise<ReceiptResult> {
  const context = forOneAppraisal(given);
  const library = referenceLibrary(context);
  const cited = await appraiseDocument(bundle.cited, 'cited ', context, library);
  const { checks, receipt } = await appraiseReceiptClaims(
    bundle.receipt,
    cited.document,
    cited.devices,
    exchange,
    context,
  );
  const parts = bundle.covering;
  const covering = parts && {
    parts,
    appraisal: await appraiseDocument(parts.document, 'covering ', context, library),
  };
  const coverage = await appraiseCoverage(receipt, cited, covering, context);
  const all = [
    ...leading,
    ...cited.checks,
    ...(covering?.appraisal.checks ?? []),
    ...checks,
    ...coverage,
    ...historyLimits(context),
    relayLimit(),
  ];
  const simulated = [...new Set([...cited.simulated, ...(covering?.appraisal.simulated ?? [])])];
  return { verdict: conclude(all, simulated, context), receipt };
}

function historyLimits({ policy }: AppraisalContext): readonly Check[] {
  const reason = `the policy asks for witnesses: ${policy.witnesses}`;
  return [
    skip('log.witnesses', 'log', 'NOT_REQUIRED', reason),
    skip('limits.history', 'log', 'NOT_EXCLUDED', 'no witness saw this log'),
    skip('limits.unreceipted', 'log', 'NOT_EXCLUDED', 'the log shows what was receipted, not what was not'),
  ];
}

function relayLimit(): Check {
  const reason = 'list chip ids and device serials in the policy to narrow it';
  return skip('limits.relay', 'devices', 'NOT_EXCLUDED', reason);
}

function conclude(
  checks: readonly Check[],
  simulated: readonly SimulatedComponent[],
  context: AppraisalContext,
): Verdict {
  return {
    version: 'vouchsafe/verdict/1',
    decision: decide(checks),
    tier: tierOf(checks, simulated),
    simulated,
    policyDigest: toHex(policyDigest(context.policy, context.crypto)),
    // Throws where `now` is no time: by NaN nothing would be out of date.
    judgedAt: new Date(context.now).toISOString(),
    checks,
  };
}
