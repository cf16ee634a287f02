import { equalBytes, toHex } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { decodeInteger, decodeUint, DerReader, readOnly, TAG } from './der.ts';
import { readExtensions, type Extensions } from './extensions.ts';
import { checkName, nameText } from './name.ts';
import { rawSignature, schemeOf } from './signature.ts';
import { checkSignedAlgorithm, readSigned } from './signed.ts';
import { decodeTime } from './time.ts';

const MAX_CRL_BYTES = 1024 * 1024;
/** More lists than all vendors have authorities, or longer ones of one chain, would only make the verifier work. */
const MAX_CRLS = 64;
const MAX_CRLS_BYTES = 4 * 1024 * 1024;
/** INTEGER 1 means version 2 (RFC 5280 section 5.1.2.1). */
const VERSION_2 = 1;
/** Context tag of crlExtensions. */
const EXTENSIONS = 0xa0;
const REASON_CODE = '2.5.29.21';
const ENUMERATED = 0x0a;

/** A certificate revocation list as parsed: nothing in it is trusted until `verifyCrl` passes. */
export interface Crl {
  readonly tbs: Uint8Array;
  readonly signatureAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
  /** Text of the name, made when it is asked for; for messages only. */
  readonly issuer: string;
  /** Encoded name, for exact comparison. */
  readonly issuerName: Uint8Array;
  /** Milliseconds since 1970. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** Time of revocation by serial, as `serialKey` writes it. */
  readonly revoked: ReadonlyMap<string, number>;
  /** CRLReason (RFC 5280 section 5.3.1) by serial, where all entries for it state the same one. */
  readonly reasons: ReadonlyMap<string, number>;
}

type Revocations = Pick<Crl, 'revoked' | 'reasons'>;

/**
 * Parses one complete DER CRL of version 2 (RFC 5280 section 5.1), at most 1 MiB, with nothing after it. Lists that
 * cover part of an issuer's certificates say so in a critical extension and are refused: absence from them proves
 * nothing.
 */
export function parseCrl(der: Uint8Array): Crl {
  if (der.length > MAX_CRL_BYTES) {
    throw new Refusal('MALFORMED', `CRL of ${der.length} bytes exceeds ${MAX_CRL_BYTES}`);
  }
  const signed = readSigned(der, 'CRL');
  const fields = new DerReader(signed.tbs.content, 'tbsCertList');
  if (decodeUint(fields.take(), 'CRL version') !== VERSION_2) {
    throw new Refusal('MALFORMED', 'tbsCertList is not of version 2');
  }
  checkSignedAlgorithm(signed, fields.take(TAG.sequence), 'CRL');
  const issuer = fields.take(TAG.sequence);
  checkName(issuer, 'CRL issuer');
  const thisUpdate = decodeTime(fields.take(), 'thisUpdate');
  // Without nextUpdate a list would never go stale; RFC 5280 section 5.1.2.5 demands it.
  const nextUpdate = decodeTime(fields.take(), 'nextUpdate');
  const revocations: Revocations = fields.has(TAG.sequence)
    ? readEntries(fields.enter(TAG.sequence))
    : { revoked: new Map(), reasons: new Map() };
  if (fields.has(EXTENSIONS)) refuseCritical(fields.enter(EXTENSIONS));
  fields.end();
  return {
    tbs: signed.tbs.encoded,
    signatureAlgorithm: signed.signatureAlgorithm,
    signature: signed.signature,
    get issuer() {
      return nameText(issuer.encoded);
    },
    issuerName: issuer.encoded,
    thisUpdate,
    nextUpdate,
    ...revocations,
  };
}

/**
 * Parses those of the lists whose issuer's name fits, at most 4 MiB of them; of the others nothing but the name is read,
 * for what other vendors write concerns nobody here. One whose name cannot be read is refused: it may be a damaged one
 * that counts.
 */
export function parseCrls(
  lists: readonly Uint8Array[],
  fits: (issuerName: Uint8Array) => boolean,
): readonly Crl[] {
  if (lists.length > MAX_CRLS) throw new Refusal('MALFORMED', `more than ${MAX_CRLS} CRLs`);
  const fitting = lists.filter((der) => fits(readIssuerName(der)));
  const bytes = fitting.reduce((sum, { length }) => sum + length, 0);
  if (bytes > MAX_CRLS_BYTES) {
    throw new Refusal('MALFORMED', `CRLs of ${bytes} bytes exceed ${MAX_CRLS_BYTES}`);
  }
  return fitting.map(parseCrl);
}

/** The encoded name in a list of any version: version 1 has no number in front. */
function readIssuerName(der: Uint8Array): Uint8Array {
  const fields = new DerReader(readSigned(der, 'CRL').tbs.content, 'tbsCertList');
  fields.optional(TAG.integer);
  fields.skip(TAG.sequence);
  return fields.take(TAG.sequence).encoded;
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

/** revokedCertificates (RFC 5280 section 5.1.2.6). Of two entries for one serial the earlier date counts. */
function readEntries(entries: DerReader): Revocations {
  const revoked = new Map<string, number>();
  const reasons = new Map<string, number>();
  while (!entries.done) {
    const entry = entries.enter(TAG.sequence);
    const serial = serialKey(decodeInteger(entry.take(), 'revoked serial'));
    const date = decodeTime(entry.take(), 'revocationDate');
    const reason = entry.done ? undefined : readReason(refuseCritical(entry));
    const former = revoked.get(serial);
    if (former !== undefined && reasons.get(serial) !== reason) reasons.delete(serial);
    else if (reason !== undefined) reasons.set(serial, reason);
    revoked.set(serial, Math.min(date, former ?? date));
  }
  return { revoked, reasons };
}

/** reasonCode: an ENUMERATED of one byte. */
function readReason(extensions: Extensions): number | undefined {
  const extension = extensions.get(REASON_CODE);
  if (!extension) return undefined;
  const { content } = readOnly(extension.value, ENUMERATED, 'revocation reason');
  const [reason = 0, ...rest] = content;
  if (content.length === 0 || rest.length > 0)
    throw new Refusal('MALFORMED', 'a revocation reason is no byte');
  return reason;
}

/**
 * Reads the extensions that end a list or an entry. Partial, indirect and delta lists are marked by critical ones
 * (RFC 5280 sections 5.2 and 5.3).
 */
function refuseCritical(owner: DerReader): Extensions {
  const extensions = readExtensions(owner.enterLast(TAG.sequence), 'CRL');
  for (const [oid, { critical }] of extensions) {
    if (critical) throw new Refusal('UNSUPPORTED', `the CRL has critical extension ${oid}`);
  }
  return extensions;
}
