import type { Anchor } from '../anchors.ts';
import type { Collateral } from '../collateral.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import type { Policy } from '../policy/policy.ts';
import type { ChainCache } from '../x509/chainCache.ts';

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
