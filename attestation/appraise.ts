import { toHex } from './bytes/bytes.ts';
import { parseBundle, type Bundle, type Covering } from './bundle/bundle.ts';
import { appraiseCoverage } from './bundle/coverage.ts';
import { appraiseWitnessed, type OutsideView } from './bundle/upper.ts';
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
import type { ReferenceLibrary } from './evidence/nvidia/references.ts';
import { policyDigest } from './policy/digest.ts';
import { appraiseReceiptClaims, type Exchange } from './receipt/appraise.ts';
import type { ParsedReceipt } from './receipt/receipt.ts';
import type { AttestedTime } from './time/clock.ts';
import { appraiseTimeAnchor, type LowerTime } from './time/lower.ts';
import { runSteps } from './verdict/steps.ts';
import { isoTime } from './x509/time.ts';
import { decide, tierOf, type SimulatedComponent, type Verdict } from './verdict/verdict.ts';

export interface EvidenceResult {
  readonly verdict: Verdict;
  /** Use its keyset only when the verdict is accepted. */
  readonly appraisal: DocumentAppraisal;
  /** The same for receipts that cite the document. */
  readonly judged: JudgedDocument;
}

/** A document and when it was made: what is judged once for all receipts that cite it. */
export interface JudgedDocument {
  readonly appraisal: DocumentAppraisal;
  /** Of its time anchor; none where the document was refused. */
  readonly made: readonly Check[];
  readonly lower: LowerTime['lower'];
  /** The policy that it was judged under, and its digest in lower-case hex. */
  readonly policy: AppraisalContext['policy'];
  readonly policyDigest: string;
}

/**
 * Judges a live evidence document: hardware, binding, the asker's nonce and the keyset's end.
 * Bad input gives a refusing verdict; it throws only for misuse. `library` holds manifests that were verified for a
 * document before, of the same collateral and anchors: they are judged as of the time for which it was made.
 */
export async function appraiseEvidence(
  document: Uint8Array,
  nonce: NonceProof | undefined,
  context: AppraisalContext,
  library?: ReferenceLibrary,
): Promise<EvidenceResult> {
  const appraisal = await appraiseDocument(document, '', forOneAppraisal(context), library);
  const live: Check[] = appraisal.document
    ? [checkNonceProof(appraisal.document, nonce, context), checkKeysetTime(appraisal.document, context)]
    : [];
  const judged = await timed(appraisal, 'document', context);
  const { made, lower } = judged;
  const checks = [...appraisal.checks, ...live, ...made, relayLimit()];
  const { simulated } = appraisal;
  const verdict = conclude(checks, simulated, context, { lower }, judged.policyDigest);
  return { verdict, appraisal, judged };
}

/** With the time at which the document was made at the earliest. */
async function timed(
  appraisal: DocumentAppraisal,
  subject: string,
  context: AppraisalContext,
): Promise<JudgedDocument> {
  const { policy } = context;
  const under = { policy, policyDigest: digestOf(context) };
  if (!appraisal.document) return { appraisal, made: [], lower: undefined, ...under };
  const { check, lower } = await appraiseTimeAnchor(appraisal.document, subject, context);
  return { appraisal, made: [check], lower, ...under };
}

export interface ReceiptResult {
  readonly verdict: Verdict;
  /** Undefined unless its signature verified under the keyset of the cited document. */
  readonly receipt: ParsedReceipt | undefined;
  /** What outsiders say of its time: what became known to be bad later is compared with `upper`. */
  readonly times: JudgedTimes;
  /** The document that it cites; absent where the bundle could not be read. */
  readonly cited?: JudgedDocument;
}

/** Times that somebody vouches for whom the caller trusts; undefined where nobody does. */
export interface JudgedTimes {
  /** The receipt and its evidence existed then at the latest. */
  readonly upper?: AttestedTime | undefined;
  /** The cited evidence was made after it. */
  readonly lower?: AttestedTime | undefined;
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
 * Judges a receipt with a document that was judged before: its checks are part of the verdict as they were then. The
 * caller sees to it that this is not too long ago, and judges a document again that the receipt does not cite.
 */
export async function appraiseReceiptUnder(
  judged: JudgedDocument,
  receipt: Uint8Array | ParsedReceipt,
  exchange: Exchange,
  context: AppraisalContext,
): Promise<ReceiptResult> {
  return appraiseParts([], { receipt, cited: judged, covering: undefined }, exchange, context);
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
  if (!bundle) return { verdict: conclude(checks, [], context), receipt: undefined, times: {} };
  const collateral = mergeCollateral(context.collateral, bundle.collateral);
  return appraiseParts(checks, bundle, exchange, { ...context, collateral });
}

interface ReceiptParts extends Pick<Bundle, 'covering' | 'witnessed'> {
  readonly receipt: Uint8Array | ParsedReceipt;
  readonly cited: Uint8Array | JudgedDocument;
}

async function judgeCited(
  encoded: Uint8Array,
  context: AppraisalContext,
  library: ReferenceLibrary,
): Promise<JudgedDocument> {
  return timed(await appraiseDocument(encoded, 'cited ', context, library), 'cited document', context);
}

interface JudgedCovering {
  readonly parts: Covering;
  readonly appraisal: DocumentAppraisal;
  readonly checks: readonly Check[];
}

async function judgeCovering(
  parts: Covering | undefined,
  context: AppraisalContext,
  library: ReferenceLibrary,
): Promise<JudgedCovering | undefined> {
  if (!parts) return undefined;
  const appraisal = await appraiseDocument(parts.document, 'covering ', context, library);
  // Of the later evidence nothing but a contradiction counts: what existed before `upper` cannot hold what came after.
  const { made } = await timed(appraisal, 'covering document', context);
  return { parts, appraisal, checks: [...appraisal.checks, ...made] };
}

async function appraiseParts(
  leading: readonly Check[],
  bundle: ReceiptParts,
  exchange: Exchange,
  given: AppraisalContext,
): Promise<ReceiptResult> {
  const caller = forOneAppraisal(given);
  const encoded = bundle.receipt instanceof Uint8Array ? bundle.receipt : bundle.receipt.encoded;
  const outside = await appraiseWitnessed({ ...bundle, receipt: encoded }, caller);
  // Valid then: all windows are judged for the time at which the evidence is known to have existed.
  const context = { ...caller, now: Math.min(caller.now, outside.upper?.time ?? caller.now) };
  const library = referenceLibrary(context);
  const judged =
    bundle.cited instanceof Uint8Array ? await judgeCited(bundle.cited, context, library) : bundle.cited;
  const cited = judged.appraisal;
  const times = { upper: outside.upper, lower: judged.lower };
  const { checks, receipt } = await appraiseReceiptClaims(
    bundle.receipt,
    cited.document,
    cited.devices,
    exchange,
    context,
    { upper: times.upper?.time, lower: times.lower?.time },
  );
  const covering = await judgeCovering(bundle.covering, context, library);
  const coverage = await appraiseCoverage(receipt, cited, covering, context);
  const all = [
    ...leading,
    ...cited.checks,
    ...judged.made,
    ...(covering?.checks ?? []),
    ...checks,
    ...coverage,
    ...outside.checks,
    ...historyLimits(outside),
    relayLimit(),
  ];
  const simulated = [...new Set([...cited.simulated, ...(covering?.appraisal.simulated ?? [])])];
  const digest = judged.policy === context.policy ? judged.policyDigest : digestOf(context);
  const verdict = conclude(all, simulated, context, times, digest);
  return { verdict, receipt, times, cited: judged };
}

function historyLimits({ witnessedSize }: OutsideView): readonly Check[] {
  return [
    witnessedSize === undefined
      ? skip('limits.history', 'log', 'NOT_EXCLUDED', 'no quorum of witnesses whom you trust saw this log')
      : skip(
          'limits.instances',
          'log',
          'NOT_EXCLUDED',
          `witnesses saw this log with ${witnessedSize} entries`,
        ),
    skip('limits.unreceipted', 'log', 'NOT_EXCLUDED', 'the log shows what was receipted, not what was not'),
  ];
}

function relayLimit(): Check {
  const reason = 'list chip ids and device serials in the policy to narrow it';
  return skip('limits.relay', 'devices', 'NOT_EXCLUDED', reason);
}

export function conclude(
  checks: readonly Check[],
  simulated: readonly SimulatedComponent[],
  context: AppraisalContext,
  { upper, lower }: JudgedTimes = {},
  digest = digestOf(context),
): Verdict {
  return {
    version: 'vouchsafe/verdict/1',
    decision: decide(checks),
    tier: tierOf(checks, simulated),
    simulated,
    policyDigest: digest,
    // Throws where `now` is no time: by NaN nothing would be out of date.
    judgedAt: new Date(context.now).toISOString(),
    ...(upper && { upper: isoTime(upper.time) }),
    ...(lower && { lower: isoTime(lower.time) }),
    checks,
  };
}

function digestOf({ policy, crypto }: AppraisalContext): string {
  return toHex(policyDigest(policy, crypto));
}
