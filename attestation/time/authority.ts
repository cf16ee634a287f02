import { findAnchor, type Anchor } from '../anchors.ts';
import { equalBytes } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import { parseCertificate, type Certificate } from '../x509/certificate.ts';
import { spkiSha256, verifyChain, type ChainOptions } from '../x509/chain.ts';
import { parseCrls, serialKey } from '../x509/crl.ts';
import { decodeOid, DerReader, readOnly, TAG } from '../x509/der.ts';
import { EXTENDED_KEY_USAGE } from '../x509/extensions.ts';
import { refuseRevoked, verifyCrlsOf, type IssuerCrls } from '../x509/revocation.ts';
import type { SignerId } from './signedData.ts';

const SUBJECT_KEY_ID = '2.5.29.14';
const TIME_STAMPING = '1.3.6.1.5.5.7.3.8';
const ANY_PURPOSE = '2.5.29.37.0';
const MAX_PURPOSES = 16;
/** CRLReason (RFC 5280 section 5.3.1): unspecified, affiliationChanged, superseded, cessationOfOperation. */
const HARMLESS_REASONS: readonly number[] = [0, 3, 4, 5];
/** Public authorities have two to four certificates. */
const MAX_LENGTH = 6;
/** Chains that certificates of equal names may form, and certificates that are looked at, before the search ends. */
const MAX_CHAINS = 8;
const MAX_STEPS = 256;

/** A chain from a signing certificate to a pinned key; by names alone, until `verifyAuthority`. */
export interface AuthorityChain {
  readonly certificates: readonly Certificate[];
  readonly anchor: Anchor;
}

/** Those that can be read, each once: one that cannot be is in no chain. */
export function readCertificates(encoded: readonly Uint8Array[]): readonly Certificate[] {
  const distinct = encoded.filter((der, i) => encoded.findIndex((other) => equalBytes(other, der)) === i);
  return distinct.flatMap((der) => {
    try {
      return [parseCertificate(der)];
    } catch (error) {
      if (error instanceof Refusal) return [];
      throw error;
    }
  });
}

/** The certificates that the signer may mean: of two with one key identifier only the signing certificate attribute tells. */
export function signersOf(id: SignerId, certificates: readonly Certificate[]): readonly Certificate[] {
  return certificates.filter((certificate) =>
    'keyId' in id
      ? isKeyId(certificate, id.keyId)
      : equalBytes(certificate.issuerName, id.issuerName) && equalBytes(certificate.serial, id.serial),
  );
}

function isKeyId({ extensions }: Certificate, keyId: Uint8Array): boolean {
  const extension = extensions.get(SUBJECT_KEY_ID);
  if (!extension) return false;
  return equalBytes(readOnly(extension.value, TAG.octetString, 'subject key identifier').content, keyId);
}

/**
 * Chains, by names, from the signers to pinned keys; empty where no trusted authority is meant. Whoever made the token
 * chose the names: certificates that all bear one name could be put in any order, so the search is bounded as a whole.
 */
export function chainsToAnchor(
  signers: readonly Certificate[],
  certificates: readonly Certificate[],
  anchors: readonly Anchor[],
  crypto: ChainOptions['crypto'],
): readonly AuthorityChain[] {
  const found: AuthorityChain[] = [];
  let steps = 0;
  const extend = (chain: readonly Certificate[], last: Certificate): void => {
    if (found.length === MAX_CHAINS || steps === MAX_STEPS) return;
    steps++;
    const anchor = findAnchor(anchors, 'timestamp', spkiSha256(last, crypto));
    if (anchor) found.push({ certificates: chain, anchor });
    if (anchor || chain.length === MAX_LENGTH) return;
    for (const issuer of certificates) {
      if (!chain.includes(issuer) && equalBytes(issuer.subjectName, last.issuerName)) {
        extend([...chain, issuer], issuer);
      }
    }
  };
  for (const signer of signers) extend([signer], signer);
  return found;
}

export interface AuthorityOptions extends ChainOptions {
  /** DER revocation lists; those of other issuers are passed over. */
  readonly crls: readonly Uint8Array[];
}

/**
 * Verifies the chain at the time of `options`; its first certificate must be for timestamps and nothing else. None of
 * it may be on a list of its issuer by that time, nor later for a reason that leaves the key in doubt. That there is a
 * list is not asked for: public authorities publish them, tokens do not carry them.
 */
export async function verifyAuthority(
  { certificates }: AuthorityChain,
  options: AuthorityOptions,
): Promise<void> {
  for (const [i, certificate] of certificates.entries()) checkPurpose(certificate, i === 0);
  const processedExtensions = [EXTENDED_KEY_USAGE];
  await verifyChain(certificates, { ...options, endsAtPin: true, processedExtensions });
  for (const [i, issuer] of certificates.slice(1).entries()) {
    const issued = certificates.slice(i, i + 1);
    const lists = parseCrls(options.crls, (name) => equalBytes(name, issuer.subjectName));
    const verified = await verifyCrlsOf(issuer, lists, options.crypto);
    refuseRevoked(verified, issued, options.now);
    for (const certificate of issued) refuseDoubted(certificate, verified);
  }
}

/**
 * RFC 3161 section 4: only a revocation for one of four reasons leaves valid what was signed before it. Whoever holds a
 * stolen key writes whichever time it likes, so that of any other revocation the date does not matter.
 */
function refuseDoubted(certificate: Certificate, { lists }: IssuerCrls): void {
  const serial = serialKey(certificate.serial);
  for (const { revoked, reasons } of lists) {
    const reason = reasons.get(serial);
    if (!revoked.has(serial) || (reason !== undefined && HARMLESS_REASONS.includes(reason))) continue;
    const why = reason === undefined ? 'no stated reason' : `reason ${reason}`;
    throw new Refusal('CERT_REVOKED', `${certificate.subject} is revoked for ${why}: its key is in doubt`);
  }
}

/**
 * RFC 3161 section 2.3: the signing certificate has one purpose, marked critical. An authority above it that is
 * restricted at all must be allowed to have timestamps made.
 */
function checkPurpose({ extensions, subject }: Certificate, signs: boolean): void {
  const extension = extensions.get(EXTENDED_KEY_USAGE);
  const purposes = extension && readPurposes(extension.value);
  const fits = signs
    ? extension?.critical === true && purposes?.length === 1 && purposes[0] === TIME_STAMPING
    : !purposes || purposes.some((purpose) => purpose === TIME_STAMPING || purpose === ANY_PURPOSE);
  if (fits) return;
  const reason = signs ? 'is not for timestamps and nothing else' : 'may not have timestamps made';
  throw new Refusal('CERT_CHAIN_INVALID', `${subject} ${reason}`);
}

function readPurposes(value: Uint8Array): readonly string[] {
  const list = new DerReader(value, 'extended key usage').enterLast(TAG.sequence);
  const purposes: string[] = [];
  while (!list.done) {
    if (purposes.length === MAX_PURPOSES) throw new Refusal('MALFORMED', 'too many extended key usages');
    purposes.push(decodeOid(list.take(TAG.oid).content));
  }
  return purposes;
}
