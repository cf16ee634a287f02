import type { Anchor } from '../anchors.ts';
import { sha256With } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { AppraisalContext } from '../evidence/context.ts';
import { parseVkey } from '../log/vkey.ts';
import { quorumOf, type WitnessRule } from '../log/witnesses.ts';
import type { VerifiedTimestamp } from './timestamp.ts';

/** Timestamp authorities that the caller trusts: those of the policy, then those among the anchors. */
export function trustedAuthorities({ policy, anchors }: AppraisalContext): readonly Anchor[] {
  if (policy.timestamps === 'none') return [];
  const named = policy.timestamps.authorities.map(({ name, value }): Anchor => {
    return { role: 'timestamp', name, spkiSha256: value, simulated: false };
  });
  return [...named, ...anchors.filter(({ role }) => role === 'timestamp')];
}

/** The policy's rule of witnesses; undefined where it trusts none. A vkey with a wrong key id is `POLICY_INVALID`. */
export function trustedWitnesses({ policy, crypto }: AppraisalContext): WitnessRule | undefined {
  if (policy.witnesses === 'none') return undefined;
  const { quorum, keys } = policy.witnesses;
  try {
    return quorumOf(
      quorum,
      keys.map((key) => parseVkey(key, sha256With(crypto))),
    );
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new Refusal('POLICY_INVALID', `witnesses: ${error.message}`);
  }
}

/** A token of a trusted authority, or why one of another was passed over. */
export type JudgedToken =
  | { readonly kind: 'trusted'; readonly timestamp: VerifiedTimestamp }
  | { readonly kind: 'ignored'; readonly reason: string };

/**
 * Verifies one token. One that names no trusted authority is passed over, for anyone can make it; one that names a
 * trusted authority and does not verify is refused, and so is what is no token at all.
 */
export async function judgeToken(
  token: Uint8Array,
  data: Uint8Array | 'any',
  context: AppraisalContext,
): Promise<JudgedToken> {
  const { crypto, chainCache, collateral } = context;
  // Few appraisals meet a token: a page that splits its code loads what reads them with the first.
  const { verifyTimestamp } = await import('./timestamp.ts');
  try {
    const anchors = trustedAuthorities(context);
    const { certificates, crls } = collateral;
    const options = { data, anchors, crypto, certificates, crls, chainCache };
    return { kind: 'trusted', timestamp: await verifyTimestamp(token, options) };
  } catch (error) {
    if (error instanceof Refusal && error.code === 'UNTRUSTED_ROOT') {
      return { kind: 'ignored', reason: error.message };
    }
    throw error;
  }
}
