import 'reflect-metadata';
import { X509Crl } from '@peculiar/x509';
import { equalBytes, fromHex, toHex } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { decodeUint, readElements, readOnly, TAG } from './der.ts';
import { rawSignature, schemeOf } from './signature.ts';

const MAX_CRL_BYTES = 1024 * 1024;
/** INTEGER 1 means version 2 (RFC 5280 section 5.1.2.1). */
const VERSION_2 = 1;

/** A certificate revocation list as parsed: nothing in it is trusted until `verifyCrl` passes. */
export interface Crl {
  readonly tbs: Uint8Array;
  readonly signatureAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
  readonly issuer: string;
  /** Encoded name, for exact comparison. */
  readonly issuerName: Uint8Array;
  /** Milliseconds since 1970. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** Time of revocation by serial, as `serialKey` writes it. */
  readonly revoked: ReadonlyMap<string, number>;
}

/**
 * Parses one complete DER CRL of version 2 (RFC 5280 section 5.1), at most 1 MiB, with nothing after it. Lists that
 * cover part of an issuer's certificates say so in a critical extension and are refused: absence from them proves
 * nothing.
 */
export function parseCrl(der: Uint8Array): Crl {
  if (der.length > MAX_CRL_BYTES) {
    throw new Refusal('MALFORMED', `CRL of ${der.length} bytes exceeds ${MAX_CRL_BYTES}`);
  }
  const outer = readElements(readOnly(der, TAG.sequence, 'CRL').content, 'CRL');
  const [tbs, algorithm, signature] = outer;
  if (outer.length !== 3 || !tbs || !algorithm || signature?.tag !== TAG.bitString) {
    throw new Refusal('MALFORMED', 'CRL is not tbsCertList, algorithm and signature');
  }
  if (signature.content[0] !== 0) throw new Refusal('MALFORMED', 'CRL signature has unused bits');
  return {
    tbs: tbs.encoded,
    signatureAlgorithm: algorithm.encoded,
    signature: signature.content.subarray(1),
    issuerName: readIssuerName(tbs.content, algorithm.encoded),
    ...parseWithLibrary(der),
  };
}

/** Lower-case hex of a serial without leading zero bytes. */
export function serialKey(serial: Uint8Array): string {
  return toHex(serial).replace(/^(?:00)+/, '');
}

/** Whether the list is of the certificate's issuer, by name; the signature is another matter. */
export function isIssuedBy(crl: Crl, issuer: Certificate): boolean {
  return equalBytes(crl.issuerName, issuer.subjectName);
}

/** Verifies that `issuer`, itself verified already, signed the list. */
export async function verifyCrl(crl: Crl, issuer: Certificate, crypto: CryptoProvider): Promise<void> {
  if (!isIssuedBy(crl, issuer)) {
    throw new Refusal('COLLATERAL_MISMATCH', `the CRL is of ${crl.issuer}, not of ${issuer.subject}`);
  }
  if (issuer.maySignCrls === false) {
    throw new Refusal('CERT_CHAIN_INVALID', `${issuer.subject} may not sign CRLs`);
  }
  const scheme = schemeOf(crl.signatureAlgorithm, issuer.spki);
  const signature = rawSignature(scheme, crl.signature);
  if (!(await crypto.verify(scheme, issuer.spki, crl.tbs, signature))) {
    throw new Refusal('SIGNATURE_INVALID', `the CRL does not verify under ${issuer.subject}`);
  }
}

export function isInDate(crl: Crl, now: number): boolean {
  return now >= crl.thisUpdate && now <= crl.nextUpdate;
}

/** Issuer as encoded: version, algorithm, issuer. The unsigned outer algorithm must equal the signed one. */
function readIssuerName(tbs: Uint8Array, outerAlgorithm: Uint8Array): Uint8Array {
  const [version, algorithm, issuer] = readElements(tbs, 'tbsCertList');
  if (!version || decodeUint(version, 'CRL version') !== VERSION_2 || issuer?.tag !== TAG.sequence) {
    throw new Refusal('MALFORMED', 'tbsCertList is not of version 2');
  }
  if (!algorithm || !equalBytes(algorithm.encoded, outerAlgorithm)) {
    throw new Refusal('MALFORMED', 'CRL names two signature algorithms');
  }
  return issuer.encoded;
}

type LibraryFields = Pick<Crl, 'issuer' | 'thisUpdate' | 'nextUpdate' | 'revoked'>;

function parseWithLibrary(der: Uint8Array): LibraryFields {
  try {
    return libraryFields(new X509Crl(der as Uint8Array<ArrayBuffer>));
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal('MALFORMED', `CRL: ${error instanceof Error ? error.message : 'unreadable'}`);
  }
}

function libraryFields(crl: X509Crl): LibraryFields {
  refuseCritical(crl.extensions);
  const revoked = new Map<string, number>();
  for (const entry of crl.entries) {
    refuseCritical(entry.extensions);
    revoked.set(serialKey(fromHex(entry.serialNumber.toLowerCase())), time(entry.revocationDate));
  }
  return { issuer: crl.issuer, thisUpdate: time(crl.thisUpdate), nextUpdate: time(crl.nextUpdate), revoked };
}

/** Partial, indirect and delta lists are marked by critical extensions (RFC 5280 sections 5.2 and 5.3). */
function refuseCritical(extensions: readonly { readonly type: string; readonly critical: boolean }[]): void {
  const critical = extensions.find((extension) => extension.critical);
  if (critical) throw new Refusal('UNSUPPORTED', `the CRL has critical extension ${critical.type}`);
}

/** A list without nextUpdate never goes stale and is refused; RFC 5280 section 5.1.2.5 demands it. */
function time(date: Date | undefined): number {
  const milliseconds = date?.getTime() ?? Number.NaN;
  if (Number.isNaN(milliseconds)) throw new Refusal('MALFORMED', 'a time of the CRL is absent or unreadable');
  return milliseconds;
}
