import { equalBytes, toHex } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { rawSignature, schemeOf } from './signature.ts';

/** Critical extensions that the chain rules below process (RFC 5280 section 4.2). */
const PROCESSED_CRITICAL = new Set([
  '2.5.29.15', // keyUsage
  '2.5.29.19', // basicConstraints
]);

export interface ChainOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  /** Critical extensions that the evidence format itself processes, by OID. */
  readonly processedExtensions?: readonly string[];
}

/** Lower-case hex SHA-256 of the SubjectPublicKeyInfo: how anchors are pinned. */
export function spkiSha256(certificate: Certificate, crypto: CryptoProvider): string {
  return toHex(crypto.hash('sha256', certificate.spki));
}

/**
 * Verifies that each certificate is issued by the next one (RFC 5280 section 6.1): names, signatures, validity,
 * basic constraints, path length, key usage and critical extensions. The last is self-issued and must verify under
 * its own key; whether that key is trusted is the caller's pin, compared before this.
 */
export async function verifyChain(chain: readonly Certificate[], options: ChainOptions): Promise<void> {
  for (const [i, certificate] of chain.entries()) {
    checkCriticalExtensions(certificate, options.processedExtensions ?? []);
    checkValidity(certificate, options.now);
    const issuer = chain[i + 1] ?? certificate;
    checkMayIssue(issuer, i, certificate === issuer ? i - 1 : i);
    await verifyIssued(certificate, issuer, options.crypto);
  }
}

/** Verifies one link: names chain and the signature verifies under the issuer's key. */
export async function verifyIssued(
  certificate: Certificate,
  issuer: Certificate,
  crypto: CryptoProvider,
): Promise<void> {
  if (!equalBytes(certificate.issuerName, issuer.subjectName)) {
    throw new Refusal(
      'CERT_CHAIN_INVALID',
      `${certificate.subject} is issued by ${certificate.issuer}, not by ${issuer.subject}`,
    );
  }
  const scheme = schemeOf(certificate.signatureAlgorithm, issuer.spki);
  const signature = rawSignature(scheme, certificate.signature);
  if (!(await crypto.verify(scheme, issuer.spki, certificate.tbs, signature))) {
    throw new Refusal(
      'CERT_CHAIN_INVALID',
      `the signature on ${certificate.subject} does not verify under ${issuer.subject}`,
    );
  }
}

export function checkValidity(certificate: Certificate, now: number): void {
  if (now < certificate.notBefore || now > certificate.notAfter) {
    throw new Refusal(
      'CERT_EXPIRED',
      `${certificate.subject} is valid from ${isoTime(certificate.notBefore)} to ${isoTime(certificate.notAfter)}, judged at ${isoTime(now)}`,
    );
  }
}

function isoTime(time: number): string {
  return new Date(time).toISOString();
}

/** `below` counts the intermediate certificates between the issuer and the leaf. */
function checkMayIssue(issuer: Certificate, position: number, below: number): void {
  if (!issuer.isCa) throw new Refusal('CERT_CHAIN_INVALID', `${issuer.subject} is no certificate authority`);
  if (issuer.maySignCertificates === false) {
    throw new Refusal('CERT_CHAIN_INVALID', `${issuer.subject} may not sign certificates`);
  }
  if (issuer.pathLength !== undefined && below > issuer.pathLength) {
    throw new Refusal(
      'CERT_CHAIN_INVALID',
      `${issuer.subject} allows ${issuer.pathLength} intermediates, certificate ${position} has ${below}`,
    );
  }
}

function checkCriticalExtensions(certificate: Certificate, processed: readonly string[]): void {
  for (const [oid, extension] of certificate.extensions) {
    if (extension.critical && !PROCESSED_CRITICAL.has(oid) && !processed.includes(oid)) {
      throw new Refusal('CERT_CHAIN_INVALID', `${certificate.subject} has unknown critical extension ${oid}`);
    }
  }
}
