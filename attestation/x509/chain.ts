import { concat, equalBytes, toHex } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import type { ChainCache } from './chainCache.ts';
import { BASIC_CONSTRAINTS, KEY_USAGE } from './extensions.ts';
import { rawSignature, schemeOf } from './signature.ts';
import { isoTime } from './time.ts';

/** Critical extensions that the chain rules below process (RFC 5280 section 4.2). */
const PROCESSED_CRITICAL: ReadonlySet<string> = new Set([KEY_USAGE, BASIC_CONSTRAINTS]);

export interface ChainOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  /** Critical extensions that the evidence format itself processes, by OID. */
  readonly processedExtensions?: readonly string[];
  /** Whether the last certificate may be issued by others, or issue nothing itself: its key is pinned as it is. */
  readonly endsAtPin?: boolean;
  /** Remembers signatures that were found good; without it each is checked every time. */
  readonly chainCache?: ChainCache | undefined;
}

/** Lower-case hex SHA-256 of the SubjectPublicKeyInfo: how anchors are pinned. */
export function spkiSha256(certificate: Certificate, crypto: CryptoProvider): string {
  return toHex(crypto.hash('sha256', certificate.spki));
}

/**
 * Verifies that each certificate is issued by the next one (RFC 5280 section 6.1): names, signatures, validity,
 * basic constraints, path length, key usage and critical extensions. The last is self-issued and must verify under
 * its own key, unless it `endsAtPin`; whether that key is trusted is the caller's pin, compared before this.
 */
export async function verifyChain(chain: readonly Certificate[], options: ChainOptions): Promise<void> {
  const links = chain.map((certificate, i) =>
    verifyLink(certificate, chain[i + 1] ?? certificate, i, options),
  );
  // All are under way at once and awaited in order: of several faults the one nearest the leaf is refused.
  for (const link of links) link.catch(() => undefined);
  const verified: (string | undefined)[] = [];
  for (const link of links) verified.push(await link);
  for (const signature of verified) if (signature !== undefined) options.chainCache?.add(signature);
}

/** Verifies the certificate at the position; gives what a cache may remember of it. */
async function verifyLink(
  certificate: Certificate,
  issuer: Certificate,
  position: number,
  { crypto, now, processedExtensions = [], endsAtPin = false, chainCache }: ChainOptions,
): Promise<string | undefined> {
  checkCriticalExtensions(certificate, processedExtensions);
  checkValidity(certificate, now);
  if (endsAtPin && certificate === issuer) return undefined;
  checkMayIssue(issuer, position, certificate === issuer ? position - 1 : position);
  checkNames(certificate, issuer);
  const remembered = chainCache && digestOfCheck(certificate, issuer, crypto);
  if (remembered === undefined || !chainCache?.has(remembered)) {
    await verifySignature(certificate, issuer, crypto);
  }
  return remembered;
}

/** Verifies one link: names chain and the signature verifies under the issuer's key. */
export async function verifyIssued(
  certificate: Certificate,
  issuer: Certificate,
  crypto: CryptoProvider,
): Promise<void> {
  checkNames(certificate, issuer);
  await verifySignature(certificate, issuer, crypto);
}

function checkNames(certificate: Certificate, issuer: Certificate): void {
  if (!equalBytes(certificate.issuerName, issuer.subjectName)) {
    throw new Refusal(
      'CERT_CHAIN_INVALID',
      `${certificate.subject} is issued by ${certificate.issuer}, not by ${issuer.subject}`,
    );
  }
}

async function verifySignature(
  certificate: Certificate,
  issuer: Certificate,
  crypto: CryptoProvider,
): Promise<void> {
  const scheme = schemeOf(certificate.signatureAlgorithm, issuer.spki);
  const signature = rawSignature(scheme, certificate.signature);
  if (!(await crypto.verify(scheme, issuer.spki, certificate.tbs, signature))) {
    throw new Refusal(
      'CERT_CHAIN_INVALID',
      `the signature on ${certificate.subject} does not verify under ${issuer.subject}`,
    );
  }
}

/** SHA-256 of every input of `verifySignature`. The first three are DER and end themselves: no two inputs collide. */
function digestOfCheck(certificate: Certificate, issuer: Certificate, crypto: CryptoProvider): string {
  const { tbs, signatureAlgorithm, signature } = certificate;
  return toHex(crypto.hash('sha256', concat(tbs, signatureAlgorithm, issuer.spki, signature)));
}

export function checkValidity(certificate: Certificate, now: number): void {
  if (now < certificate.notBefore || now > certificate.notAfter) {
    throw new Refusal(
      'CERT_EXPIRED',
      `${certificate.subject} is valid from ${isoTime(certificate.notBefore)} to ${isoTime(certificate.notAfter)}, judged at ${isoTime(now)}`,
    );
  }
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
