import { createHash, createPrivateKey, createPublicKey, constants, type KeyObject, sign } from 'node:crypto';
import { fromBase64 } from '../../../attestation/bytes/bytes.ts';
import { parseCertificate } from '../../../attestation/x509/certificate.ts';
import { readElements, readOnly, TAG } from '../../../attestation/x509/der.ts';
import * as der from './der.ts';

const ORGANISATION = 'Vouchsafe SIMULATED';
const NULL = der.element(TAG.null);
const SHA_384 = der.sequence(der.oid('2.16.840.1.101.3.4.2.2'), NULL);
const ECDSA_SHA_384 = der.sequence(der.oid('1.2.840.10045.4.3.3'));
/** RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes, as AMD signs (RFC 4055 section 3.1). */
const RSA_PSS_SHA_384 = der.sequence(
  der.oid('1.2.840.113549.1.1.10'),
  der.sequence(
    der.tagged(0, SHA_384),
    der.tagged(1, der.sequence(der.oid('1.2.840.113549.1.1.8'), SHA_384)),
    der.tagged(2, der.smallInteger(48)),
  ),
);

/** A key that issues: its private half is published, so what it issues proves nothing. */
export interface Authority {
  /** Encoded subject name. */
  readonly name: Uint8Array;
  readonly certificate: Uint8Array;
  readonly key: KeyObject;
}

/** As the generated roots keep it: certificate in DER and private key in PKCS #8, both base64. */
export interface PublishedAuthority {
  readonly certificate: string;
  readonly privateKey: string;
}

export interface CertificateTemplate {
  /** Encoded subject name. */
  readonly subject: Uint8Array;
  /** Big-endian magnitude. */
  readonly serial: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly publicKey: KeyObject;
  /** Encoded extensions in order. */
  readonly extensions: readonly Uint8Array[];
}

/** The published ones: they are a handful, and each is read for every machine. */
const authorities = new WeakMap<PublishedAuthority, Authority>();

export function readAuthority(published: PublishedAuthority): Authority {
  const known = authorities.get(published);
  if (known) return known;
  const authority = parseAuthority(published);
  authorities.set(published, authority);
  return authority;
}

function parseAuthority(published: PublishedAuthority): Authority {
  const certificate = fromBase64(published.certificate);
  const key = createPrivateKey({
    key: Buffer.from(published.privateKey, 'base64'),
    format: 'der',
    type: 'pkcs8',
  });
  return { name: parseCertificate(certificate).subjectName, certificate, key };
}

/** An X.509 v3 certificate (RFC 5280 section 4.1), signed as the vendors do for the issuer's kind of key. */
export function issueCertificate(
  template: CertificateTemplate,
  issuer: Pick<Authority, 'name' | 'key'>,
): Uint8Array {
  return signedSequence(issuer.key, (algorithm) => [
    der.tagged(0, der.smallInteger(2)),
    der.integer(template.serial),
    algorithm,
    issuer.name,
    der.sequence(der.time(template.notBefore), der.time(template.notAfter)),
    template.subject,
    spkiOf(template.publicKey),
    der.tagged(3, der.sequence(...template.extensions)),
  ]);
}

/** The X.509 SIGNED macro: the content, the algorithm for the key's kind, and the signature over the content. */
export function signedSequence(
  key: KeyObject,
  content: (algorithm: Uint8Array) => readonly Uint8Array[],
): Uint8Array {
  const algorithm = key.asymmetricKeyType === 'rsa' ? RSA_PSS_SHA_384 : ECDSA_SHA_384;
  const signed = der.sequence(...content(algorithm));
  return der.sequence(signed, algorithm, der.bitString(signWith(key, signed)));
}

function signWith(key: KeyObject, data: Uint8Array): Uint8Array {
  if (key.asymmetricKeyType !== 'rsa') return sign('sha384', data, { key, dsaEncoding: 'der' });
  return sign('sha384', data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 });
}

function spkiOf(publicKey: KeyObject): Uint8Array {
  return publicKey.export({ format: 'der', type: 'spki' });
}

/** A name of our organisation, never a vendor's. `serialNumber` is the attribute 2.5.4.5 of device names. */
export function simulatedName(commonName: string, serialNumber?: string): Uint8Array {
  const attribute = (type: string, value: Uint8Array) =>
    der.element(TAG.set, der.sequence(der.oid(type), value));
  return der.sequence(
    ...(serialNumber === undefined ? [] : [attribute('2.5.4.5', der.printableString(serialNumber))]),
    attribute('2.5.4.10', der.utf8String(ORGANISATION)),
    attribute('2.5.4.3', der.utf8String(commonName)),
  );
}

/** `value` is the content of the extnValue OCTET STRING. */
export function extension(type: string, value: Uint8Array, critical = false): Uint8Array {
  const flag = critical ? [der.element(TAG.boolean, Uint8Array.of(0xff))] : [];
  return der.sequence(der.oid(type), ...flag, der.octetString(value));
}

/** Critical basicConstraints and keyUsage of an authority (RFC 5280 sections 4.2.1.9 and 4.2.1.3). */
export function authorityExtensions(
  pathLength: number | undefined,
  usage: 'certificates' | 'certificates-and-crls',
): readonly Uint8Array[] {
  const limit = pathLength === undefined ? [] : [der.smallInteger(pathLength)];
  const constraints = der.sequence(der.element(TAG.boolean, Uint8Array.of(0xff)), ...limit);
  const bits =
    usage === 'certificates' ? der.bitString(Uint8Array.of(0x04), 2) : der.bitString(Uint8Array.of(0x06), 1);
  return [extension('2.5.29.19', constraints, true), extension('2.5.29.15', bits, true)];
}

/** Critical keyUsage digitalSignature of a leaf that signs reports or manifests. */
export function signerExtension(): Uint8Array {
  return extension('2.5.29.15', der.bitString(Uint8Array.of(0x80), 7), true);
}

/** Subject and authority key identifiers: SHA-1 of the key bits (RFC 5280 section 4.2.1.2). */
export function keyIdentifierExtensions(subject: KeyObject, issuer: KeyObject): readonly Uint8Array[] {
  return [
    extension('2.5.29.14', der.octetString(keyIdentifier(subject))),
    authorityKeyIdentifierExtension(issuer),
  ];
}

export function authorityKeyIdentifierExtension(issuer: KeyObject): Uint8Array {
  return extension('2.5.29.35', der.sequence(der.element(0x80, keyIdentifier(issuer))));
}

function keyIdentifier(key: KeyObject): Uint8Array {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  const [, bits] = readElements(
    readOnly(spkiOf(publicKey), TAG.sequence, 'public key').content,
    'public key',
  );
  return createHash('sha1')
    .update(bits?.content.subarray(1) ?? '')
    .digest();
}
