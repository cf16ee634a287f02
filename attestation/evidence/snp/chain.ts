import type { Anchor } from '../../anchors.ts';
import { Refusal } from '../../errors.ts';
import { atCheck } from '../../verdict/steps.ts';
import { parseCertificate, type Certificate } from '../../x509/certificate.ts';
import { spkiSha256, verifyChain } from '../../x509/chain.ts';
import type { ChainCache } from '../../x509/chainCache.ts';
import { findSnpAnchor, type SnpAnchor } from './anchors.ts';
import { checkRevocation, type Revocation, type RevocationOptions } from './crl.ts';

export interface SnpChainOptions extends RevocationOptions {
  /** Keys that the caller trusts; those of other roles are passed over. */
  readonly anchors: readonly Anchor[];
  /** Remembers signatures of certificates that were found good. */
  readonly chainCache?: ChainCache | undefined;
}

/** Three certificates, parsed, of which the last has a pinned key; no signature is checked yet. */
export interface PinnedSnpChain {
  readonly vek: Certificate;
  /** AMD SEV key (for a VCEK) or SEV-VLEK key (for a VLEK). */
  readonly intermediate: Certificate;
  readonly ark: Certificate;
  readonly anchor: SnpAnchor;
}

/** A chain that leads to a pinned AMD root: what its first certificate endorses is AMD's word. */
export interface VerifiedSnpChain extends PinnedSnpChain {
  readonly revocation: Revocation;
}

/** Verifies VEK, ASK or ASVK and ARK, in this order and no more, up to a pinned key, and their revocation. */
export async function verifySnpChain(
  certificates: readonly Uint8Array[],
  options: SnpChainOptions,
): Promise<VerifiedSnpChain> {
  return verifyPinnedSnpChain(await parsePinnedSnpChain(certificates, options), options);
}

/** The pin comes first: a look-alike root with AMD's names is refused before anything it signed is looked at. */
export function parsePinnedSnpChain(
  certificates: readonly Uint8Array[],
  options: SnpChainOptions,
): Promise<PinnedSnpChain> {
  return atCheck('cpu.chain', () => {
    const [vek, intermediate, ark] = parseThree(certificates);
    const spki = spkiSha256(ark, options.crypto);
    const anchor = findSnpAnchor(options.anchors, spki);
    if (anchor) return { vek, intermediate, ark, anchor };
    throw new Refusal(
      'UNTRUSTED_ROOT',
      `the chain ends in ${ark.subject} with key ${spki}, which is not pinned`,
    );
  });
}

export async function verifyPinnedSnpChain(
  chain: PinnedSnpChain,
  options: SnpChainOptions,
): Promise<VerifiedSnpChain> {
  const { vek, intermediate, ark } = chain;
  await atCheck('cpu.chain', () => verifyChain([vek, intermediate, ark], options));
  const revocation = await atCheck('cpu.revocation', () =>
    checkRevocation([intermediate, ark], ark, options),
  );
  return { ...chain, revocation };
}

function parseThree(certificates: readonly Uint8Array[]): readonly [Certificate, Certificate, Certificate] {
  const [vek, intermediate, ark, ...rest] = certificates;
  if (!vek || !intermediate || !ark) {
    throw new Refusal(
      'CERT_MISSING',
      `VEK, ASK or ASVK and ARK certificates are needed, ${certificates.length} given`,
    );
  }
  if (rest.length > 0) throw new Refusal('MALFORMED', `${rest.length} certificates follow the ARK`);
  return [parseCertificate(vek), parseCertificate(intermediate), parseCertificate(ark)];
}
