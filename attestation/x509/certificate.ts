import { fromBase64 } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import { decodeBitString, decodeInteger, decodeOid, decodeUint, DerReader, TAG } from './der.ts';
import { readBasicConstraints, readExtensions, readKeyUsage, type Extension } from './extensions.ts';
import { checkName, nameText } from './name.ts';
import { checkSignedAlgorithm, readSigned } from './signed.ts';
import { decodeTime } from './time.ts';

export type { Extension };

const MAX_CERTIFICATE_BYTES = 16 * 1024;
/** INTEGER 2 means version 3 (RFC 5280 section 4.1.2.1). */
const VERSION_3 = 2;
/** Context tags of tbsCertificate. */
const VERSION = 0xa0;
const ISSUER_UNIQUE_ID = 0x81;
const SUBJECT_UNIQUE_ID = 0x82;
const EXTENSIONS = 0xa3;

/** An X.509 v3 certificate as parsed: nothing in it is trusted until a chain verifies. */
export interface Certificate {
  readonly der: Uint8Array;
  readonly tbs: Uint8Array;
  /** Encoded AlgorithmIdentifier; the outer and the signed one are equal. */
  readonly signatureAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** Text of the names, made when it is asked for; for messages only. */
  readonly subject: string;
  readonly issuer: string;
  /** Encoded names, for exact comparison. */
  readonly subjectName: Uint8Array;
  readonly issuerName: Uint8Array;
  /** Content of the serial INTEGER without a leading zero. */
  readonly serial: Uint8Array;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly extensions: ReadonlyMap<string, Extension>;
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
  /** Undefined when the extension is absent. */
  readonly maySignCertificates: boolean | undefined;
  readonly maySignCrls: boolean | undefined;
}

/** Parses one DER certificate (RFC 5280 section 4.1), at most 16 KiB, with nothing after it. */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) {
    throw new Refusal('MALFORMED', `certificate of ${der.length} bytes exceeds ${MAX_CERTIFICATE_BYTES}`);
  }
  const signed = readSigned(der, 'certificate');
  const fields = new DerReader(signed.tbs.content, 'tbsCertificate');
  readVersion(fields);
  const serial = withoutSign(decodeInteger(fields.take(), 'certificate serial'));
  checkSignedAlgorithm(signed, fields.take(TAG.sequence), 'certificate');
  const issuer = readName(fields, 'issuer');
  const validity = readValidity(fields);
  const subject = readName(fields, 'subject');
  const spki = readSpki(fields);
  const extensions = readTail(fields);
  return {
    der,
    tbs: signed.tbs.encoded,
    signatureAlgorithm: signed.signatureAlgorithm,
    signature: signed.signature,
    spki,
    get subject() {
      return nameText(subject);
    },
    get issuer() {
      return nameText(issuer);
    },
    subjectName: subject,
    issuerName: issuer,
    serial,
    ...validity,
    extensions,
    ...readBasicConstraints(extensions),
    ...readKeyUsage(extensions),
  };
}

/** Certificates of concatenated PEM blocks (RFC 7468), in order; text around the blocks is ignored. */
export function parsePemChain(text: string, maxCertificates = 16): readonly Certificate[] {
  const blocks = [
    ...text.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g),
  ];
  if (blocks.length === 0) throw new Refusal('CERT_MISSING', 'no PEM certificate found');
  if (blocks.length > maxCertificates)
    throw new Refusal('MALFORMED', `more than ${maxCertificates} certificates`);
  return blocks.map(([, body]) => parseCertificate(fromBase64((body ?? '').replaceAll(/\s/g, ''))));
}

/** Extensions, and with them the constraints on authorities, exist in version 3 alone. */
function readVersion(fields: DerReader): void {
  const version = fields.enter(VERSION);
  if (decodeUint(version.take(), 'certificate version') !== VERSION_3) {
    throw new Refusal('MALFORMED', 'tbsCertificate is not of version 3');
  }
  version.end();
}

/** Serials are compared without the zero byte that only says that the number is positive. */
function withoutSign(serial: Uint8Array): Uint8Array {
  return serial.length > 1 && serial[0] === 0 ? serial.subarray(1) : serial;
}

function readName(fields: DerReader, what: string): Uint8Array {
  const name = fields.take(TAG.sequence);
  checkName(name, what);
  return name.encoded;
}

function readValidity(fields: DerReader): { readonly notBefore: number; readonly notAfter: number } {
  const validity = fields.enter(TAG.sequence);
  const notBefore = decodeTime(validity.take(), 'notBefore');
  const notAfter = decodeTime(validity.take(), 'notAfter');
  validity.end();
  return { notBefore, notAfter };
}

/** SEQUENCE of AlgorithmIdentifier and BIT STRING; which keys are known is `signature.ts`'s to say. */
function readSpki(fields: DerReader): Uint8Array {
  const spki = fields.take(TAG.sequence);
  const members = new DerReader(spki.content, 'subjectPublicKeyInfo');
  decodeOid(members.enter(TAG.sequence).take(TAG.oid).content);
  decodeBitString(members.take(), 'subjectPublicKey');
  members.end();
  return spki.encoded;
}

/** The unique identifiers of X.509 version 2, which nobody reads, and the extensions. */
function readTail(fields: DerReader): Certificate['extensions'] {
  fields.optional(ISSUER_UNIQUE_ID);
  fields.optional(SUBJECT_UNIQUE_ID);
  if (fields.done) return new Map();
  return readExtensions(fields.enterLast(EXTENSIONS).enterLast(TAG.sequence), 'certificate');
}
