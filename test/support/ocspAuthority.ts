import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { concat, utf8 } from '../../attestation/bytes/bytes.ts';
import { parseCertificate, type Certificate } from '../../attestation/x509/certificate.ts';
import { TAG } from '../../attestation/x509/der.ts';
import {
  type Authority,
  extension,
  issueCertificate,
  readAuthority,
  simulatedName,
} from '../../enclave/collect/simulated/certificate.ts';
import * as der from '../../enclave/collect/simulated/der.ts';
import { SIMULATED_ROOTS } from '../../enclave/collect/simulated/roots.ts';

/** An instant at which everything minted here is in date. */
export const NOW = Date.parse('2026-06-01T12:00:00Z');
export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

const NULL = der.element(TAG.null);
const ENUMERATED = 0x0a;
const ECDSA_SHA_384 = der.sequence(der.oid('1.2.840.10045.4.3.3'));
const BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1';
export const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';
export const OCSP_NO_CHECK = '1.3.6.1.5.5.7.48.1.5';
export const OCSP_NONCE = '1.3.6.1.5.5.7.48.1.2';

/** The simulated authorities, whose keys are published: their certificates are as those of NVIDIA. */
export const AUTHORITY = {
  deviceRoot: readAuthority(SIMULATED_ROOTS.deviceRoot),
  deviceIdentity: readAuthority(SIMULATED_ROOTS.deviceIdentity),
  deviceProvisioner: readAuthority(SIMULATED_ROOTS.deviceProvisioner),
  rimRoot: readAuthority(SIMULATED_ROOTS.rimRoot),
  rimCa: readAuthority(SIMULATED_ROOTS.rimCa),
  rimIssuer: readAuthority(SIMULATED_ROOTS.rimIssuer),
  rimSigner: readAuthority(SIMULATED_ROOTS.rimSigner),
} as const;

export function certificateOf({ certificate }: Authority): Certificate {
  return parseCertificate(certificate);
}

// Responders.

/** Who signs a response, and how the response names it. */
export interface Responder {
  readonly key: KeyObject;
  readonly name: Uint8Array;
  /** What the response carries. */
  readonly certificates: readonly Uint8Array[];
}

export interface ResponderChanges {
  readonly purposes?: readonly string[];
  /** Encoded extensions beside extended key usage. */
  readonly extensions?: readonly Uint8Array[];
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly name?: Uint8Array;
  /** A key that signs the certificate in place of the issuer's. */
  readonly signedBy?: KeyObject;
}

export function generateKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
}

export const SIGNATURES_ONLY = extension('2.5.29.15', der.bitString(Uint8Array.of(0x80), 7), true);

/** A responder that the authority delegates to, as NVIDIA's are. */
export function mintResponder(issuer: Authority, changes: ResponderChanges = {}): Responder {
  const key = generateKey();
  const name = changes.name ?? simulatedName('OCSP responder');
  const purposes = changes.purposes ?? [OCSP_SIGNING];
  const usage = purposes.length > 0 ? [extension('2.5.29.37', der.sequence(...purposes.map(der.oid)))] : [];
  const certificate = issueCertificate(
    {
      subject: name,
      serial: Uint8Array.of(0x41, 7),
      notBefore: new Date(changes.notBefore ?? NOW - 30 * DAY),
      notAfter: new Date(changes.notAfter ?? NOW + 30 * DAY),
      publicKey: createPublicKey(key),
      extensions: [...usage, ...(changes.extensions ?? [SIGNATURES_ONLY])],
    },
    { name: issuer.name, key: changes.signedBy ?? issuer.key },
  );
  return { key, name, certificates: [certificate] };
}

/** The authority answers with its own key. */
export function ownResponder({ key, name }: Authority): Responder {
  return { key, name, certificates: [] };
}

// Responses.

export type CertIdHash = 'sha1' | 'sha256' | 'sha384' | 'sha512';
export const HASH_OID = {
  md5: '1.2.840.113549.2.5',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
} as const;

export function hashOf(hash: string, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(hash).update(bytes).digest());
}

/** The uncompressed point of a P-384 key. */
export function pointOf(key: KeyObject): Uint8Array {
  const spki = createPublicKey(key.type === 'private' ? key.export({ format: 'pem', type: 'pkcs8' }) : key);
  return new Uint8Array(spki.export({ format: 'der', type: 'spki' })).subarray(-97);
}

export interface CertIdParts {
  readonly algorithm: Uint8Array;
  readonly nameHash: Uint8Array;
  readonly keyHash: Uint8Array;
  readonly serial: Uint8Array;
}

export function encodeCertId(
  issuer: Pick<Authority, 'name' | 'key'>,
  serial: Uint8Array,
  hash: CertIdHash = 'sha384',
  changes: Partial<CertIdParts> = {},
): Uint8Array {
  return der.sequence(
    changes.algorithm ?? der.sequence(der.oid(HASH_OID[hash]), NULL),
    der.octetString(changes.nameHash ?? hashOf(hash, issuer.name)),
    der.octetString(changes.keyHash ?? hashOf(hash, pointOf(issuer.key))),
    changes.serial ?? der.integer(serial),
  );
}

export function generalizedTime(time: number): Uint8Array {
  const digits = new Date(time).toISOString().replaceAll(/[-:T]|\.\d+Z/g, '');
  return der.element(TAG.generalizedTime, utf8(`${digits}Z`));
}

export const GOOD = der.element(0x80);
export const UNKNOWN = der.element(0x82);

/** `reason` is a CRLReason. */
export function revoked(since: number, reason?: number): Uint8Array {
  const why = reason === undefined ? [] : [der.tagged(0, enumerated(reason))];
  return der.element(0xa1, generalizedTime(since), ...why);
}

export function enumerated(...content: readonly number[]): Uint8Array {
  return der.element(ENUMERATED, Uint8Array.from(content));
}

export interface StatementParts {
  /** Encoded CertID. */
  readonly certId: Uint8Array;
  readonly status?: Uint8Array;
  readonly thisUpdate?: number;
  /** `none` leaves it out. */
  readonly nextUpdate?: number | 'none';
  /** Encoded singleExtensions. */
  readonly extensions?: readonly Uint8Array[];
}

/** An encoded SingleResponse: good from an hour before `NOW` for a day. */
export function encodeStatement(parts: StatementParts): Uint8Array {
  const thisUpdate = parts.thisUpdate ?? NOW - HOUR;
  const nextUpdate = parts.nextUpdate ?? thisUpdate + DAY;
  return der.sequence(
    parts.certId,
    parts.status ?? GOOD,
    generalizedTime(thisUpdate),
    ...(nextUpdate === 'none' ? [] : [der.tagged(0, generalizedTime(nextUpdate))]),
    ...(parts.extensions ? [der.tagged(1, der.sequence(...parts.extensions))] : []),
  );
}

export function byKey(key: KeyObject): Uint8Array {
  return der.tagged(2, der.octetString(hashOf('sha1', pointOf(key))));
}

export function byName(name: Uint8Array): Uint8Array {
  return der.tagged(1, name);
}

export interface ResponseParts {
  readonly responder: Responder;
  /** Encoded SingleResponses. */
  readonly statements: readonly Uint8Array[];
  /** Encoded version, left out by default. */
  readonly version?: Uint8Array;
  /** Encoded ResponderID; by key by default. */
  readonly responderId?: Uint8Array;
  readonly producedAt?: Uint8Array;
  /** Encoded responseExtensions. */
  readonly extensions?: readonly Uint8Array[];
  readonly signatureAlgorithm?: Uint8Array;
  /** A key that signs in place of the responder's. */
  readonly signedBy?: KeyObject;
  /** What stands after the signature. */
  readonly certificates?: readonly Uint8Array[];
  readonly type?: string;
}

/** A DER OCSPResponse, signed. */
export function encodeResponse(parts: ResponseParts): Uint8Array {
  const { responder } = parts;
  const tbs = der.sequence(
    parts.version ?? new Uint8Array(),
    parts.responderId ?? byKey(responder.key),
    parts.producedAt ?? generalizedTime(NOW - HOUR),
    der.sequence(...parts.statements),
    ...(parts.extensions ? [der.tagged(1, der.sequence(...parts.extensions))] : []),
  );
  const key = parts.signedBy ?? responder.key;
  const signature = sign('sha384', tbs, { key, dsaEncoding: 'der' });
  const certificates = parts.certificates ?? responder.certificates;
  const basic = der.sequence(
    tbs,
    parts.signatureAlgorithm ?? ECDSA_SHA_384,
    der.bitString(signature),
    ...(certificates.length > 0 ? [der.tagged(0, der.sequence(...certificates))] : []),
  );
  return wrapBasic(basic, parts.type);
}

/** OCSPResponse around the bytes of a BasicOCSPResponse. */
export function wrapBasic(basic: Uint8Array, type: string = BASIC_RESPONSE): Uint8Array {
  const bytes = der.sequence(der.oid(type), der.octetString(basic));
  return der.sequence(enumerated(0), der.tagged(0, bytes));
}

/** An unsigned error of a responder (RFC 6960 section 4.2.1). */
export function encodeError(status: number): Uint8Array {
  return der.sequence(enumerated(status));
}

export function nonceExtension(nonce: Uint8Array): Uint8Array {
  return extension(OCSP_NONCE, der.octetString(nonce));
}

/** A response of a delegated responder about one certificate. */
export function respond(
  issuer: Authority,
  certificate: Pick<Certificate, 'serial'>,
  statement: Omit<StatementParts, 'certId'> = {},
  responder: Responder = mintResponder(issuer),
): Uint8Array {
  const certId = encodeCertId(issuer, certificate.serial);
  return encodeResponse({ responder, statements: [encodeStatement({ certId, ...statement })] });
}

/** The bytes with one byte changed. */
export function xored(bytes: Uint8Array, offset: number, mask: number): Uint8Array {
  const copy = concat(bytes);
  copy[offset] = copy[offset]! ^ mask;
  return copy;
}
