import { equalBytes } from '../bytes/bytes.ts';
import type { CryptoProvider, HashName } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { decodeBitString, decodeInteger, DerReader, readOnly, TAG } from './der.ts';
import { readAlgorithm } from './signature.ts';

/** Hashes of issuers' names and keys. SHA-1 only names an issuer here: what is hashed is known beforehand. */
export const CERT_ID_HASHES = {
  sha1: { oid: '1.3.14.3.2.26', bytes: 20 },
  sha256: { oid: '2.16.840.1.101.3.4.2.1', bytes: 32 },
  sha384: { oid: '2.16.840.1.101.3.4.2.2', bytes: 48 },
  sha512: { oid: '2.16.840.1.101.3.4.2.3', bytes: 64 },
} as const satisfies Record<HashName, { readonly oid: string; readonly bytes: number }>;
const HASH_NAMES = Object.keys(CERT_ID_HASHES) as readonly HashName[];

/** Names one certificate by its issuer and serial (RFC 6960 section 4.1.1). */
export interface OcspCertId {
  readonly hash: HashName;
  /** Over the DER of the issuer's name. */
  readonly issuerNameHash: Uint8Array;
  /** Over the bits of the issuer's public key, without tag, length and count of unused bits. */
  readonly issuerKeyHash: Uint8Array;
  /** Content of the serial INTEGER without a leading zero. */
  readonly serial: Uint8Array;
}

/** Reads the CertID that is next. */
export function readCertId(fields: DerReader): OcspCertId {
  const certId = fields.enter(TAG.sequence);
  const hash = readHash(certId.take(TAG.sequence).encoded);
  const issuerNameHash = certId.take(TAG.octetString).content;
  const issuerKeyHash = certId.take(TAG.octetString).content;
  const serial = decodeInteger(certId.take(), 'CertID serial');
  certId.end();
  const { bytes } = CERT_ID_HASHES[hash];
  if (issuerNameHash.length !== bytes || issuerKeyHash.length !== bytes) {
    throw new Refusal('MALFORMED', `CertID: the hashes are not the ${bytes} bytes of ${hash}`);
  }
  return {
    hash,
    issuerNameHash,
    issuerKeyHash,
    serial: serial.length > 1 && serial[0] === 0 ? serial.subarray(1) : serial,
  };
}

/** Parameters of the hash are absent or NULL, as elsewhere (RFC 5754 section 2). */
function readHash(algorithm: Uint8Array): HashName {
  const { oid, parameters } = readAlgorithm(algorithm, 'CertID hash');
  if (parameters && readOnly(parameters, TAG.null, 'parameters of the CertID hash').content.length > 0) {
    throw new Refusal('MALFORMED', 'the parameters of the CertID hash are not NULL');
  }
  const hash = HASH_NAMES.find((name) => CERT_ID_HASHES[name].oid === oid);
  if (!hash) throw new Refusal('UNSUPPORTED', `CertID hash ${oid} is not supported`);
  return hash;
}

/** The CertID of a certificate that `issuer` issued. */
export function certIdOf(
  certificate: Certificate,
  issuer: Certificate,
  hash: HashName,
  crypto: CryptoProvider,
): OcspCertId {
  return {
    hash,
    issuerNameHash: crypto.hash(hash, issuer.subjectName),
    issuerKeyHash: crypto.hash(hash, publicKeyBits(issuer)),
    serial: certificate.serial,
  };
}

/** Whether the CertID names the certificate: issuer's name, issuer's key and serial. */
export function isCertIdOf(
  certId: OcspCertId,
  certificate: Certificate,
  issuer: Certificate,
  crypto: CryptoProvider,
): boolean {
  if (!equalBytes(certId.serial, certificate.serial)) return false;
  const wanted = certIdOf(certificate, issuer, certId.hash, crypto);
  return (
    equalBytes(certId.issuerNameHash, wanted.issuerNameHash) &&
    equalBytes(certId.issuerKeyHash, wanted.issuerKeyHash)
  );
}

/** The bits of a certificate's public key: what CertIDs and responder identifiers hash. */
export function publicKeyBits({ spki }: Certificate): Uint8Array {
  const members = new DerReader(readOnly(spki, TAG.sequence, 'public key').content, 'public key');
  members.skip(TAG.sequence);
  const bits = decodeBitString(members.take(), 'public key');
  members.end();
  return bits;
}
