import { findAnchor, type Anchor, type AnchorRole } from '../../anchors.ts';
import { equalBytes, toHex } from '../../bytes/bytes.ts';
import { pass, type Check } from '../../checks.ts';
import { Refusal } from '../../errors.ts';
import { atCheck } from '../../verdict/steps.ts';
import type { Certificate } from '../../x509/certificate.ts';
import {
  AK_PURPOSE,
  EK_PURPOSE,
  readKeyUsage,
  readPurposes,
  readTpmName,
  type TpmName,
} from './certificate.ts';
import { verifyTpmChain, type TpmChainOptions } from './chain.ts';
import { readGoogleInstance, type GoogleInstance } from './google.ts';
import { publicKeyKind } from './key.ts';
import type { Revocation } from './revocation.ts';

declare const verified: unique symbol;

/** A certificate by which a vendor gives a key to a TPM, up to the trust in `anchor`. */
export interface VerifiedAkCertificate {
  readonly [verified]: 'AK certificate';
  /** DER SubjectPublicKeyInfo of the attestation key. */
  readonly spki: Uint8Array;
  readonly certificate: Certificate;
  readonly anchor: Anchor;
  readonly revocation: Revocation;
  readonly tpm: TpmName | undefined;
  readonly instance: GoogleInstance | undefined;
}

/**
 * Verifies the certificate of an attestation key: `chain` is leaf, intermediates and, where the evidence has it, the
 * root; `options.certificates` may complete it. It must end in a key that is pinned in one of the roles.
 */
export function verifyAkCertificate(
  chain: readonly Uint8Array[],
  roles: readonly AnchorRole[],
  options: TpmChainOptions,
): Promise<VerifiedAkCertificate> {
  return atCheck('cpu.vtpm-key', async () => {
    const { leaf, anchor, revocation } = await verifyTpmChain(chain, roles, options);
    const tpm = readTpmName(leaf);
    checkUse(leaf, anchor);
    publicKeyKind(leaf.spki);
    const instance = readGoogleInstance(leaf);
    const { spki } = leaf;
    return { spki, certificate: leaf, anchor, revocation, tpm, instance } as unknown as VerifiedAkCertificate;
  });
}

/**
 * The certificate must be for signing, and for attestation: authorities issue endorsement keys as well, whose holder
 * could not be held to sign only what a TPM made. Google states the purpose of endorsement keys on both kinds, or
 * none, and tells them apart by key usage.
 */
function checkUse(leaf: Certificate, { role }: Anchor): void {
  const purposes = readPurposes(leaf);
  const isForAttestation =
    role === 'gcp-vtpm'
      ? !purposes || purposes.includes(AK_PURPOSE) || purposes.includes(EK_PURPOSE)
      : purposes?.includes(AK_PURPOSE) === true;
  if (!isForAttestation) {
    const reason = `the certificate states the purposes ${purposes?.join(', ') ?? 'of none'}, not ${AK_PURPOSE}`;
    throw new Refusal('UNTRUSTED_KEY', reason);
  }
  const usage = readKeyUsage(leaf);
  if (!usage?.has('digitalSignature')) {
    const seen = usage ? [...usage].join(', ') || 'none of them' : 'no key usage';
    throw new Refusal('UNTRUSTED_KEY', `the certificate is not for digitalSignature but for ${seen}`);
  }
}

/** Key of a TPM for which other evidence vouches, itself verified by the caller. */
export interface VouchedKey {
  readonly spki: Uint8Array;
  /** What vouches, such as `HCLAkPub of the runtime claims`. */
  readonly source: string;
}

export interface AkClaims {
  /** DER, leaf first; empty where the evidence has none. */
  readonly certificates: readonly Uint8Array[];
  readonly vouched: VouchedKey | undefined;
}

/** An attestation key that something trusted vouches for. Only `verifyAk` makes one. */
export interface VerifiedAk {
  readonly [verified]: 'AK';
  readonly spki: Uint8Array;
  /** Lower-case hex. */
  readonly spkiSha256: string;
  readonly certificate: VerifiedAkCertificate | undefined;
  /** Pinned root or pinned key; undefined where only other evidence vouches. */
  readonly anchor: Anchor | undefined;
  readonly vouchedBy: string | undefined;
  readonly checks: readonly Check[];
}

export interface AkOptions extends TpmChainOptions {
  /** Subject of the checks, `cpu` by default. */
  readonly subject?: string;
}

/**
 * Verifies that the key of a quote is vouched for: by other evidence, by a certificate, or by an anchor of role `tpm`
 * that pins the key itself. Each that is given must hold; with none the key is nobody's, as a bare public key is.
 */
export function verifyAk(
  akSpki: Uint8Array,
  { certificates, vouched }: AkClaims,
  roles: readonly AnchorRole[],
  options: AkOptions,
): Promise<VerifiedAk> {
  return atCheck('cpu.vtpm-key', async () => {
    publicKeyKind(akSpki);
    const spkiSha256 = toHex(options.crypto.hash('sha256', akSpki));
    const other = (seen: Uint8Array) => toHex(options.crypto.hash('sha256', seen));
    if (vouched && !equalBytes(vouched.spki, akSpki)) {
      const reason = `${vouched.source} is key ${other(vouched.spki)}, the quote is by key ${spkiSha256}`;
      throw new Refusal('UNTRUSTED_KEY', reason);
    }
    const certificate =
      certificates.length > 0 ? await verifyAkCertificate(certificates, roles, options) : undefined;
    if (certificate && !equalBytes(certificate.spki, akSpki)) {
      const reason = `the certificate is for key ${other(certificate.spki)}, the quote is by key ${spkiSha256}`;
      throw new Refusal('UNTRUSTED_KEY', reason);
    }
    const pinned = roles.includes('tpm') ? findAnchor(options.anchors, 'tpm', spkiSha256) : undefined;
    const anchor = certificate?.anchor ?? pinned;
    if (!anchor && !vouched) {
      const reason = `no certificate, no other evidence and no pin vouches for key ${spkiSha256}`;
      throw new Refusal('UNTRUSTED_KEY', reason);
    }
    const vouchedBy = vouched?.source;
    const checks = [describe(spkiSha256, certificate, pinned, vouchedBy, options.subject ?? 'cpu')];
    return { spki: akSpki, spkiSha256, certificate, anchor, vouchedBy, checks } as unknown as VerifiedAk;
  });
}

function describe(
  spkiSha256: string,
  certificate: VerifiedAkCertificate | undefined,
  pinned: Anchor | undefined,
  vouchedBy: string | undefined,
  subject: string,
): Check {
  const reasons = [`key ${spkiSha256}`];
  if (vouchedBy !== undefined) reasons.push(`named by ${vouchedBy}`);
  if (certificate) reasons.push(describeCertificate(certificate));
  if (pinned) reasons.push(`pinned as ${pinned.name}`);
  return pass('cpu.vtpm-key', subject, reasons.join('; '));
}

function describeCertificate({ anchor, revocation, tpm, instance }: VerifiedAkCertificate): string {
  const { published, lookedUp } = revocation;
  const parts = [`its certificate leads to the pinned key ${anchor.name}`];
  if (tpm) parts.push(`TPM ${tpm.manufacturer} ${tpm.model} ${tpm.version}`);
  if (instance) parts.push(describeInstance(instance));
  parts.push(`${lookedUp} certificates looked up in CRLs, ${published} name one`);
  return parts.join(', ');
}

function describeInstance({
  projectId,
  projectNumber,
  zone,
  instanceName,
  instanceId,
}: GoogleInstance): string {
  return `instance ${instanceName} (${instanceId}) of project ${projectId} (${projectNumber}) in ${zone}`;
}
