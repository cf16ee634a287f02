import type { Anchor, AnchorRole } from '../../anchors.ts';
import { Refusal } from '../../errors.ts';
import { atCheck } from '../../verdict/steps.ts';
import type { Certificate } from '../../x509/certificate.ts';
import { EK_PURPOSE, readKeyUsage, readPurposes, readTpmName, type TpmName } from './certificate.ts';
import { verifyTpmChain, type TpmChainOptions } from './chain.ts';
import { readGoogleInstance, type GoogleInstance } from './google.ts';
import { publicKeyKind } from './key.ts';
import type { Revocation } from './revocation.ts';

declare const verified: unique symbol;

/**
 * A certificate by which a vendor says that a decryption key is in a TPM of its make. It vouches for no quote: an
 * endorsement key does not sign, and what ties an attestation key to it is a dialogue with the TPM.
 */
export interface VerifiedEkCertificate {
  readonly [verified]: 'EK certificate';
  /** DER SubjectPublicKeyInfo of the endorsement key. */
  readonly spki: Uint8Array;
  readonly certificate: Certificate;
  readonly anchor: Anchor;
  readonly revocation: Revocation;
  readonly tpm: TpmName | undefined;
  readonly instance: GoogleInstance | undefined;
}

/** Verifies the certificate of an endorsement key; see `verifyAkCertificate` for the chain and the roles. */
export function verifyEkCertificate(
  chain: readonly Uint8Array[],
  roles: readonly AnchorRole[],
  options: TpmChainOptions,
): Promise<VerifiedEkCertificate> {
  return atCheck('cpu.vtpm-key', async () => {
    const { leaf, anchor, revocation } = await verifyTpmChain(chain, roles, options);
    const tpm = readTpmName(leaf);
    const instance = readGoogleInstance(leaf);
    checkUse(leaf);
    checkName(leaf, anchor, tpm, instance);
    const { spki } = leaf;
    return { spki, certificate: leaf, anchor, revocation, tpm, instance } as unknown as VerifiedEkCertificate;
  });
}

/** TCG EK Credential Profile, sections 3.2.6 and 3.2.10: an RSA key enciphers, an ECC key agrees, none signs. */
function checkUse(leaf: Certificate): void {
  const wanted = publicKeyKind(leaf.spki).kind === 'rsa' ? 'keyEncipherment' : 'keyAgreement';
  const usage = readKeyUsage(leaf);
  if (!usage?.has(wanted) || usage.has('digitalSignature')) {
    const seen = usage ? [...usage].join(', ') || 'none of them' : 'no key usage';
    throw new Refusal(
      'UNTRUSTED_KEY',
      `an endorsement key is for ${wanted} alone, the certificate states ${seen}`,
    );
  }
}

/** Google's newer hierarchy states neither purpose nor manufacturer, but the instance; others must state both. */
function checkName(
  leaf: Certificate,
  { role }: Anchor,
  tpm: TpmName | undefined,
  instance: GoogleInstance | undefined,
): void {
  const purposes = readPurposes(leaf);
  const isNamedByInstance = role === 'gcp-vtpm' && instance !== undefined;
  if (purposes ? !purposes.includes(EK_PURPOSE) : !isNamedByInstance) {
    const reason = `the certificate states the purposes ${purposes?.join(', ') ?? 'of none'}, not ${EK_PURPOSE}`;
    throw new Refusal('UNTRUSTED_KEY', reason);
  }
  if (!tpm && !isNamedByInstance) {
    throw new Refusal('UNTRUSTED_KEY', 'the certificate names no TPM manufacturer, model and version');
  }
}
