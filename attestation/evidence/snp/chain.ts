import type { Anchor } from '../../anchors.ts';
import { Refusal } from '../../errors.ts';
import { atCheck } from '../../verdict/steps.ts';
import { parseCertificate, type Certificate } from '../../x509/certificate.ts';
import { spkiSha256, verifyChain } from '../../x509/chain.ts';
import { findSnpAnchor, type SnpAnchor } from './anchors.ts';
import { checkRevocation, type Revocation, type RevocationOptions } from './crl.ts';

export interface SnpChainOptions extends RevocationOptions {
  /** Keys that the caller trusts; those of other roles are passed over. */
  readonly anchors: readonly Anchor[];
}

/** A chain that leads to a pinned AMD root: what its first certificate endorses is AMD's word. */
export interface VerifiedSnpChain {
  readonly vek: Certificate;
  /** AMD SEV key (for a VCEK) or SEV-VLEK key (for a VLEK). */
  readonly intermediate: Certificate;
  readonly ark: Certificate;
  readonly anchor: SnpAnchor;
  readonly revocation: Revocation;
}

/** Verifies VEK, ASK or ASVK and ARK, in this order and no more, up to a pinned key, and their revocation. */
export async function verifySnpChain(
  certificates: readonly Uint8Array[],
  options: SnpChainOptions,
): Promise<VerifiedSnpChain> {
  const chain = await atCheck('cpu.chain', () => verifyPinned(certificates, options));
  const { intermediate, ark } = chain;
  const revocation = await atCheck('cpu.revocation', () =>
    checkRevocation([intermediate, ark], ark, options),
  );
  return { ...chain, revocation };
}

/** The pin comes first: a look-alike root with AMD's names is refused before anything it signed is looked at. */
async function verifyPinned(certificates: readonly Uint8Array[], options: SnpChainOptions) {
  const [vek, intermediate, ark] = parseThree(certificates);
  const spki = spkiSha256(ark, options.crypto);
  const anchor = findSnpAnchor(options.anchors, spki);
  if (!anchor) {
    throw new Refusal(
      'UNTRUSTED_ROOT',
      `the chain ends in ${ark.subject} with key ${spki}, which is not pinned`,
    );
  }
  await verifyChain([vek, intermediate, ark], options);
  return { vek, intermediate, ark, anchor };
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
