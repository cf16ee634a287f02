import type { Anchor } from '../../attestation/anchors.ts';
import type { Collateral } from '../../attestation/collateral.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import { referenceLibrary } from '../../attestation/evidence/appraise.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import type { ReferenceLibrary } from '../../attestation/evidence/nvidia/references.ts';
import { createChainCache } from '../../attestation/x509/chainCache.ts';

/** Signatures of certificates in two documents of the largest machine, with room to spare. */
const MAX_SIGNATURES = 256;
/** Manifests that were verified are not verified again for so long: a certificate of theirs may end meanwhile. */
const LIBRARY_MS = 300_000;

/** Whose words manifests are, and under which keys: the very objects. */
export interface ManifestSource {
  readonly supplied: Collateral;
  /** Of the caller; undefined where there is none. */
  readonly own: Collateral | undefined;
  readonly anchors: readonly Anchor[];
}

interface Kept extends ManifestSource {
  readonly at: number;
  readonly references: ReferenceLibrary;
}

/**
 * What the sessions of a process need not verify again: signatures of vendors' certificates and of their manifests.
 * Reports, their times and everything that a service says of itself are judged anew each time.
 */
export class VerifiedBefore {
  readonly chainCache = createChainCache(MAX_SIGNATURES);
  #kept: Kept | undefined;

  /** Manifests of this source, as they were judged minutes ago at most by the same clock. */
  manifests(source: ManifestSource, context: AppraisalContext): ReferenceLibrary {
    const { now } = context;
    const kept = this.#kept;
    if (kept && isSame(kept, source) && now >= kept.at && now - kept.at < LIBRARY_MS) return kept.references;
    const references = referenceLibrary(context);
    this.#kept = { ...source, at: now, references };
    return references;
  }

  /** After a failure that says nothing of the manifests, such as code that could not be loaded. */
  forgetManifests(): void {
    this.#kept = undefined;
  }
}

function isSame(one: ManifestSource, other: ManifestSource): boolean {
  return one.supplied === other.supplied && one.own === other.own && one.anchors === other.anchors;
}

const memories = new WeakMap<CryptoProvider, VerifiedBefore>();

/** What this cryptography found good: another one is not to be believed for it. */
export function verifiedBefore(crypto: CryptoProvider): VerifiedBefore {
  const known = memories.get(crypto) ?? new VerifiedBefore();
  memories.set(crypto, known);
  return known;
}
