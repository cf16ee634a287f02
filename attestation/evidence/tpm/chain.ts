import { findAnchor, type Anchor, type AnchorRole } from '../../anchors.ts';
import { equalBytes } from '../../bytes/bytes.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { parseCertificate, type Certificate } from '../../x509/certificate.ts';
import { spkiSha256, verifyChain, verifyIssued } from '../../x509/chain.ts';
import type { ChainCache } from '../../x509/chainCache.ts';
import {
  AK_PURPOSE,
  EK_PURPOSE,
  readAuthorityKeyId,
  readPurposes,
  readSubjectKeyId,
  SUBJECT_ALT_NAME,
  unpadCertificate,
} from './certificate.ts';
import { checkRevocation, type Revocation, type RevocationOptions } from './revocation.ts';

/** Certificates that the evidence may carry, and that the caller may add. */
const MAX_CARRIED = 16;
const MAX_ADDED = 256;
/** Issuers above the leaf: clouds have two or three. */
const MAX_DEPTH = 6;
/**
 * Signatures that the search for one path may check. Whoever brings the certificates can have all of them certify each
 * other, under keys that take twenty milliseconds each; a genuine path takes as many as authorities share its names.
 */
const MAX_SEARCH_SIGNATURES = 64;
const ANY_PURPOSE = '2.5.29.37.0';

export interface TpmChainOptions extends RevocationOptions {
  /** Keys that the caller trusts; those of other roles are passed over. */
  readonly anchors: readonly Anchor[];
  /** DER certificates of any issuer that may complete the chain, its root among them. */
  readonly certificates: readonly Uint8Array[];
  /** Remembers signatures of certificates that were found good. */
  readonly chainCache?: ChainCache | undefined;
}

/** A path that leads to a pinned root: what its first certificate says is the vendor's word. */
export interface VerifiedTpmChain {
  readonly leaf: Certificate;
  /** Leaf first, root last. */
  readonly path: readonly Certificate[];
  readonly anchor: Anchor;
  readonly revocation: Revocation;
}

/**
 * Verifies the first certificate, which may be zero padded, up to a root key that is pinned in one of the roles. The
 * path is found by name, key identifier and signature: authorities of Google and of Azure share names and differ in
 * keys. Certificates that are not on the path count for nothing.
 */
export async function verifyTpmChain(
  certificates: readonly Uint8Array[],
  roles: readonly AnchorRole[],
  options: TpmChainOptions,
): Promise<VerifiedTpmChain> {
  const [first, ...rest] = certificates;
  if (!first) throw new Refusal('CERT_MISSING', 'no certificate of the key is given');
  if (certificates.length > MAX_CARRIED || options.certificates.length > MAX_ADDED) {
    throw new Refusal(
      'MALFORMED',
      `${certificates.length} certificates and ${options.certificates.length} added ones, at most ${MAX_CARRIED} and ${MAX_ADDED} are allowed`,
    );
  }
  const leaf = parseCertificate(unpadCertificate(first));
  const pool = [...rest.map(parseCertificate), ...options.certificates.flatMap(parseAdded)];
  const { path, anchor } = await findPath(leaf, pool, roles, options);
  if (leaf.isCa)
    throw new Refusal('CERT_CHAIN_INVALID', `${leaf.subject} is an authority, not a key of a TPM`);
  for (const authority of path.slice(1)) checkAuthority(authority);
  const { crypto, now, chainCache } = options;
  await verifyChain(path, { crypto, now, chainCache, processedExtensions: [SUBJECT_ALT_NAME] });
  const revocation = await checkRevocation(path, options);
  return { leaf, path, anchor, revocation };
}

/** The caller's certificates serve all evidence: one that this parser cannot read is of no use here. */
function parseAdded(der: Uint8Array): readonly Certificate[] {
  try {
    return [parseCertificate(der)];
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
}

/** An authority is limited to TPMs, or not limited; the names in its subjectAltName are not processed here. */
function checkAuthority(authority: Certificate): void {
  const purposes = readPurposes(authority);
  const fitting = [EK_PURPOSE, AK_PURPOSE, ANY_PURPOSE];
  if (purposes && !purposes.some((purpose) => fitting.includes(purpose))) {
    const reason = `${authority.subject} may issue for ${purposes.join(', ')}, not for keys of a TPM`;
    throw new Refusal('CERT_CHAIN_INVALID', reason);
  }
  if (authority.extensions.get(SUBJECT_ALT_NAME)?.critical) {
    throw new Refusal('CERT_CHAIN_INVALID', `${authority.subject} has a critical subjectAltName`);
  }
}

interface Path {
  readonly path: readonly Certificate[];
  readonly anchor: Anchor;
}

interface Search {
  readonly pool: readonly Certificate[];
  readonly crypto: CryptoProvider;
  readonly now: number;
  readonly pinned: (certificate: Certificate) => Anchor | undefined;
  /** Each certificate is looked behind once, so the search ends. */
  readonly seen: Set<Certificate>;
  readonly deadEnds: Refusal[];
  /** Signatures that may still be checked. */
  left: number;
}

async function findPath(
  leaf: Certificate,
  pool: readonly Certificate[],
  roles: readonly AnchorRole[],
  { crypto, now, anchors }: TpmChainOptions,
): Promise<Path> {
  const pinned = (certificate: Certificate): Anchor | undefined => {
    if (!isSelfIssued(certificate)) return undefined;
    const spki = spkiSha256(certificate, crypto);
    return roles.flatMap((role) => findAnchor(anchors, role, spki) ?? [])[0];
  };
  const left = MAX_SEARCH_SIGNATURES;
  const search: Search = { pool, crypto, now, pinned, seen: new Set(), deadEnds: [], left };
  const path = await searchFrom(leaf, 0, search);
  if (path) return path;
  const untrusted = search.deadEnds.find(({ code }) => code === 'UNTRUSTED_ROOT');
  throw untrusted ?? search.deadEnds[0] ?? new Refusal('CERT_CHAIN_INVALID', 'the certificates form no path');
}

async function searchFrom(
  certificate: Certificate,
  depth: number,
  search: Search,
): Promise<Path | undefined> {
  search.seen.add(certificate);
  for (const issuer of await issuersOf(certificate, search)) {
    const anchor = search.pinned(issuer);
    if (anchor) return { path: [certificate, issuer], anchor };
    if (search.seen.has(issuer) || depth === MAX_DEPTH) continue;
    const found = await searchFrom(issuer, depth + 1, search);
    if (found) return { path: [certificate, ...found.path], anchor: found.anchor };
  }
  return undefined;
}

/** Certificates whose key signed this one, those in date first; notes why where there are none. */
async function issuersOf(certificate: Certificate, search: Search): Promise<readonly Certificate[]> {
  const { pool, now, deadEnds } = search;
  if (isSelfIssued(certificate)) {
    const spki = spkiSha256(certificate, search.crypto);
    const reason = `the chain ends in ${certificate.subject} with key ${spki}, which is not pinned for this role`;
    deadEnds.push(new Refusal('UNTRUSTED_ROOT', reason));
    return [];
  }
  const named = pool.filter((other) => isNamedIssuer(certificate, other));
  const issuers: Certificate[] = [];
  for (const other of named) if (await isIssuedBy(certificate, other, search)) issuers.push(other);
  const { subject, issuer } = certificate;
  if (named.length === 0) {
    deadEnds.push(
      new Refusal('CERT_MISSING', `no certificate of ${issuer}, which issued ${subject}, is given`),
    );
  } else if (issuers.length === 0) {
    const reason = `${subject} is signed by none of ${named.length} certificates named ${issuer}`;
    deadEnds.push(new Refusal('CERT_CHAIN_INVALID', reason));
  }
  const isInDate = ({ notBefore, notAfter }: Certificate) => now >= notBefore && now <= notAfter;
  return issuers.toSorted((a, b) => Number(isInDate(b)) - Number(isInDate(a)));
}

function isSelfIssued({ subjectName, issuerName }: Certificate): boolean {
  return equalBytes(subjectName, issuerName);
}

/** Name and, where both certificates state one, key identifier. */
function isNamedIssuer(certificate: Certificate, issuer: Certificate): boolean {
  if (!equalBytes(certificate.issuerName, issuer.subjectName)) return false;
  const [wanted, given] = [readAuthorityKeyId(certificate), readSubjectKeyId(issuer)];
  return !wanted || !given || equalBytes(wanted, given);
}

async function isIssuedBy(certificate: Certificate, issuer: Certificate, search: Search): Promise<boolean> {
  if (search.left === 0) {
    const reason = `no path was found in ${MAX_SEARCH_SIGNATURES} signatures: too many certificates share names`;
    throw new Refusal('CERT_CHAIN_INVALID', reason);
  }
  search.left -= 1;
  try {
    await verifyIssued(certificate, issuer, search.crypto);
    return true;
  } catch (error) {
    if (error instanceof Refusal && error.code === 'CERT_CHAIN_INVALID') return false;
    throw error;
  }
}
