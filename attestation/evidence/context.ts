import type { Anchor } from '../anchors.ts';
import type { Collateral } from '../collateral.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import type { Policy } from '../policy/policy.ts';
import { createChainCache, type ChainCache } from '../x509/chainCache.ts';

/** Everything that an appraisal needs besides the evidence. All of it comes from the caller. */
export interface AppraisalContext {
  readonly policy: Policy;
  /** Keys that the caller trusts; the doors export the published set. */
  readonly anchors: readonly Anchor[];
  readonly collateral: Collateral;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  readonly crypto: CryptoProvider;
  /** Remembers signatures of certificates that were found good, from one appraisal to the next. */
  readonly chainCache?: ChainCache | undefined;
}

/** Signatures of certificates that two documents of the largest machine hold, with room to spare. */
const ONE_APPRAISAL = 128;

/**
 * The context of one appraisal: a key that was read and a signature that was found good once are remembered for it.
 * The documents of a receipt are of one machine, its devices have vendors in common, and so have their manifests.
 */
export function forOneAppraisal(context: AppraisalContext): AppraisalContext {
  const { crypto, chainCache } = context;
  return {
    ...context,
    crypto: crypto.forOneVerification?.() ?? crypto,
    chainCache: chainCache ?? createChainCache(ONE_APPRAISAL),
  };
}
