/**
 * The verifier, for any runtime with WebCrypto. Pure: evidence, anchors, collateral, policy and time come in, a
 * verdict goes out. Nothing here reads a clock, a file or the network.
 */
export { appraiseBundle, appraiseEvidence, appraiseReceipt } from './appraise.ts';
export type { EvidenceResult, JudgedTimes, ReceiptResult } from './appraise.ts';
export { appraiseDisclosure } from './appraiseDisclosure.ts';
export type { DisclosureBeside, DisclosureResult } from './appraiseDisclosure.ts';
export type { NonceProof } from './evidence/appraise.ts';
export type { AppraisalContext } from './evidence/context.ts';
export type { Exchange } from './receipt/appraise.ts';
export type { Opening } from './receipt/opening.ts';
export { encodeDisclosure, parseDisclosure, type Disclosure } from './receipt/disclosure.ts';
export { openItems, type KeptContent, type Selection } from './receipt/openItems.ts';
export type { ShownContent } from './receipt/openingsAppraisal.ts';
export { parseBundle } from './bundle/bundle.ts';
export { parseReceipt } from './receipt/receipt.ts';
export { DEFAULT_ANCHORS } from './defaultAnchors.ts';
export type { Anchor } from './anchors.ts';
export { NO_COLLATERAL, type Collateral } from './collateral.ts';
export { CHECKS, type Check, type CheckCode, type CheckId } from './checks.ts';
export { REFUSALS, Refusal, type RefusalCode } from './errors.ts';
export { appraiseNrasAnswer, type NrasAppraisal, type NrasVerdict } from './evidence/nras/answer.ts';
export { parseNrasRequest } from './evidence/nras/request.ts';
export { DEFAULT_NRAS_POLICY, parseNrasPolicy, type NrasPolicy } from './policy/nras.ts';
export { createChainCache, type ChainCache } from './x509/chainCache.ts';
export { parsePolicy, policySchema, type Policy } from './policy/policy.ts';
export { DEFAULT_POLICY, SIMULATED_POLICY } from './policy/defaults.ts';
export type { Decision, SimulatedComponent, Tier, Verdict } from './verdict/verdict.ts';
export { encodeEar, toEar, type EarClaims, type EarInputs } from './verdict/ear.ts';
export {
  toVerificationDocument,
  VERIFICATION_FORMAT,
  type VerificationDocument,
  type VerificationStep,
} from './verification/document.ts';
export type { JudgedInput } from './verification/parts.ts';
export type { CryptoProvider } from './crypto/provider.ts';
export { portableCrypto } from './crypto/portable.ts';
export { provesEquivocation, provesFork, provesSplitView } from './receipt/misbehaviour.ts';
export { parseKeyset, type Keyset } from './keyset.ts';
