import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate,
} from '@peculiar/x509';
import { equalBytes, fromBase64, fromHex } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import { readElements, readOnly, TAG } from './der.ts';

const MAX_CERTIFICATE_BYTES = 16 * 1024;

export interface Extension {
  readonly critical: boolean;
  /** Content of the extnValue OCTET STRING. */
  readonly value: Uint8Array;
}

/** An X.509 v3 certificate as parsed: nothing in it is trusted until a chain verifies. */
export interface Certificate {
  readonly der: Uint8Array;
  readonly tbs: Uint8Array;
  /** Encoded AlgorithmIdentifier; the outer and the signed one are equal. */
  readonly signatureAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
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
  const outer = readElements(readOnly(der, TAG.sequence, 'certificate').content, 'certificate');
  const [tbs, algorithm, signature] = outer;
  if (outer.length !== 3 || !tbs || !algorithm || signature?.tag !== TAG.bitString) {
    throw new Refusal('MALFORMED', 'certificate is not tbsCertificate, algorithm and signature');
  }
  const { subjectName, issuerName } = readSignedFields(tbs.content, algorithm.encoded);
  const parsed = parseWithLibrary(der);
  return {
    der,
    tbs: tbs.encoded,
    signatureAlgorithm: algorithm.encoded,
    signature: bitStringBytes(signature.content),
    subjectName,
    issuerName,
    ...parsed,
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

function bitStringBytes(content: Uint8Array): Uint8Array {
  if (content[0] !== 0) throw new Refusal('MALFORMED', 'signature BIT STRING has unused bits');
  return content.subarray(1);
}

/**
 * Issuer and subject as encoded: version [0], serial, algorithm, issuer, validity, subject. The unsigned outer
 * algorithm must equal the signed one (RFC 5280 section 4.1.1.2).
 */
function readSignedFields(
  tbs: Uint8Array,
  outerAlgorithm: Uint8Array,
): { readonly subjectName: Uint8Array; readonly issuerName: Uint8Array } {
  const [version, , algorithm, issuer, , subject] = readElements(tbs, 'tbsCertificate');
  if (version?.tag !== 0xa0 || issuer?.tag !== TAG.sequence || subject?.tag !== TAG.sequence) {
    throw new Refusal('MALFORMED', 'tbsCertificate is not of version 3');
  }
  if (!algorithm || !equalBytes(algorithm.encoded, outerAlgorithm)) {
    throw new Refusal('MALFORMED', 'certificate names two signature algorithms');
  }
  return { issuerName: issuer.encoded, subjectName: subject.encoded };
}

type LibraryFields = Omit<
  Certificate,
  'der' | 'tbs' | 'signatureAlgorithm' | 'signature' | 'subjectName' | 'issuerName'
>;

function parseWithLibrary(der: Uint8Array): LibraryFields {
  try {
    return libraryFields(new X509Certificate(der as Uint8Array<ArrayBuffer>));
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal('MALFORMED', `certificate: ${error instanceof Error ? error.message : 'unreadable'}`);
  }
}

function libraryFields(certificate: X509Certificate): LibraryFields {
  const constraints = certificate.getExtension(BasicConstraintsExtension);
  const usage = certificate.getExtension(KeyUsagesExtension);
  return {
    spki: new Uint8Array(certificate.publicKey.rawData),
    subject: certificate.subject,
    issuer: certificate.issuer,
    serial: fromHex(certificate.serialNumber.toLowerCase()),
    notBefore: time(certificate.notBefore),
    notAfter: time(certificate.notAfter),
    extensions: readExtensions(certificate),
    isCa: constraints?.ca ?? false,
    pathLength: constraints?.pathLength,
    maySignCertificates: usage ? (usage.usages & KeyUsageFlags.keyCertSign) !== 0 : undefined,
    maySignCrls: usage ? (usage.usages & KeyUsageFlags.cRLSign) !== 0 : undefined,
  };
}

/** A time that is no number would compare as valid. */
function time(date: Date): number {
  const milliseconds = date.getTime();
  if (Number.isNaN(milliseconds)) throw new Refusal('MALFORMED', 'a time of the certificate is unreadable');
  return milliseconds;
}

function readExtensions(certificate: X509Certificate): ReadonlyMap<string, Extension> {
  const extensions = new Map<string, Extension>();
  for (const extension of certificate.extensions) {
    if (extensions.has(extension.type)) {
      throw new Refusal('MALFORMED', `certificate has extension ${extension.type} twice`);
    }
    extensions.set(extension.type, {
      critical: extension.critical,
      value: new Uint8Array(extension.value),
    });
  }
  return extensions;
}
