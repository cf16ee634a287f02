import { Refusal } from '../errors.ts';
import { parseCertificate, type Certificate } from './certificate.ts';
import { decodeBitString, decodeOid, decodeUint, DerReader, TAG, type DerElement } from './der.ts';
import { readExtensions, type Extensions } from './extensions.ts';
import { checkName } from './name.ts';
import { readCertId, type OcspCertId } from './ocspCertId.ts';
import { decodeTime } from './time.ts';

/** Real responses take about 1 KiB. */
const MAX_RESPONSE_BYTES = 64 * 1024;
const MAX_STATEMENTS = 64;
/** A responder sends its own certificate and at most those above it. */
const MAX_CERTIFICATES = 4;

const ENUMERATED = 0x0a;
const BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1';
/** Context tags: responseBytes, certs and the version share the first. */
const CONTEXT_0 = 0xa0;
const CONTEXT_1 = 0xa1;
const BY_NAME = 0xa1;
const BY_KEY = 0xa2;
const KEY_HASH_BYTES = 20;
/** certStatus: good and unknown are NULL, revoked is a sequence; all are implicitly tagged. */
const GOOD = 0x80;
const REVOKED = 0xa1;
const UNKNOWN = 0x82;

const NONCE = '1.3.6.1.5.5.7.48.1.2';
/** RFC 9654 section 2.1. */
const MAX_NONCE_BYTES = 128;

/** OCSPResponseStatus other than successful (RFC 6960 section 4.2.1); 4 is not used. */
const ERRORS: Readonly<Record<number, string>> = {
  1: 'malformedRequest',
  2: 'internalError',
  3: 'tryLater',
  5: 'sigRequired',
  6: 'unauthorized',
};

/** CRLReason (RFC 5280 section 5.3.1). */
export const CERTIFICATE_HOLD = 6;

export type OcspStatus =
  | { readonly kind: 'good' }
  /** `since` in milliseconds since 1970; `reason` is a CRLReason. */
  | { readonly kind: 'revoked'; readonly since: number; readonly reason: number | undefined }
  | { readonly kind: 'unknown' };

/** What a response says of one certificate: SingleResponse. Times are milliseconds since 1970. */
export interface OcspStatement {
  readonly certId: OcspCertId;
  readonly status: OcspStatus;
  readonly thisUpdate: number;
  readonly nextUpdate: number | undefined;
}

/** How a response names its signer: the encoded name, or the SHA-1 of the bits of the public key. */
export type OcspResponderId = { readonly name: Uint8Array } | { readonly keyHash: Uint8Array };

/** A successful basic OCSP response as parsed: nothing in it is trusted until `verifyOcspResponse` passes. */
export interface OcspResponse {
  /** Encoded tbsResponseData: what is signed. */
  readonly tbs: Uint8Array;
  /** Encoded AlgorithmIdentifier. It is not signed. */
  readonly signatureAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
  readonly responderId: OcspResponderId;
  /** Milliseconds since 1970. */
  readonly producedAt: number;
  readonly statements: readonly OcspStatement[];
  readonly nonce: Uint8Array | undefined;
  /** Certificates of the responder. They are not covered by the signature. */
  readonly certificates: readonly Certificate[];
}

/**
 * Parses one DER OCSPResponse (RFC 6960 section 4.2.1), at most 64 KiB, with nothing after it. An error of the
 * responder states nothing about any certificate: it is `COLLATERAL_MISSING` and named.
 */
export function parseOcspResponse(der: Uint8Array): OcspResponse {
  if (der.length > MAX_RESPONSE_BYTES) {
    throw new Refusal('MALFORMED', `OCSP response of ${der.length} bytes exceeds ${MAX_RESPONSE_BYTES}`);
  }
  const whole = new DerReader(der, 'OCSP response');
  const fields = whole.enter(TAG.sequence);
  whole.end();
  refuseError(readEnumerated(fields, 'OCSP response status'));
  const wrapper = fields.enter(CONTEXT_0);
  fields.end();
  const bytes = wrapper.enter(TAG.sequence);
  wrapper.end();
  const type = decodeOid(bytes.take(TAG.oid).content);
  if (type !== BASIC_RESPONSE) throw new Refusal('UNSUPPORTED', `OCSP response of type ${type}`);
  const basic = bytes.take(TAG.octetString).content;
  bytes.end();
  return parseBasicResponse(basic);
}

function refuseError(status: number): void {
  if (status === 0) return;
  const name = ERRORS[status];
  if (name === undefined) throw new Refusal('MALFORMED', `OCSP response status ${status}`);
  throw new Refusal('COLLATERAL_MISSING', `the OCSP responder answered ${name}`);
}

function parseBasicResponse(der: Uint8Array): OcspResponse {
  const whole = new DerReader(der, 'BasicOCSPResponse');
  const fields = whole.enter(TAG.sequence);
  whole.end();
  const tbs = fields.take(TAG.sequence);
  const signatureAlgorithm = fields.take(TAG.sequence).encoded;
  const signature = decodeBitString(fields.take(), 'OCSP signature');
  const certificates = fields.has(CONTEXT_0) ? readCertificates(fields.enter(CONTEXT_0)) : [];
  fields.end();
  return { tbs: tbs.encoded, signatureAlgorithm, signature, certificates, ...readData(tbs) };
}

function readCertificates(wrapper: DerReader): readonly Certificate[] {
  const list = wrapper.enter(TAG.sequence);
  wrapper.end();
  const certificates: Certificate[] = [];
  while (!list.done) {
    if (certificates.length === MAX_CERTIFICATES) {
      throw new Refusal('MALFORMED', `OCSP response: more than ${MAX_CERTIFICATES} certificates`);
    }
    certificates.push(parseCertificate(list.take(TAG.sequence).encoded));
  }
  return certificates;
}

type ResponseData = Pick<OcspResponse, 'responderId' | 'producedAt' | 'statements' | 'nonce'>;

/** ResponseData; its version, when written, is 1. */
function readData({ content }: DerElement): ResponseData {
  const fields = new DerReader(content, 'tbsResponseData');
  if (fields.has(CONTEXT_0)) readVersion(fields.enter(CONTEXT_0));
  const responderId = readResponderId(fields);
  const producedAt = readTime(fields, 'producedAt');
  const statements = readStatements(fields.enter(TAG.sequence));
  const extensions = fields.has(CONTEXT_1) ? readList(fields.enter(CONTEXT_1)) : undefined;
  fields.end();
  return { responderId, producedAt, statements, nonce: extensions && readNonce(extensions) };
}

/** INTEGER 0 means version 1. */
function readVersion(wrapper: DerReader): void {
  const version = decodeUint(wrapper.take(), 'OCSP version');
  wrapper.end();
  if (version !== 0) throw new Refusal('UNSUPPORTED', `OCSP response of version ${version + 1}`);
}

function readResponderId(fields: DerReader): OcspResponderId {
  const wrapper = fields.has(BY_NAME) ? fields.enter(BY_NAME) : undefined;
  if (wrapper) {
    const name = wrapper.take(TAG.sequence);
    wrapper.end();
    checkName(name, 'OCSP responder');
    return { name: name.encoded };
  }
  const byKey = fields.enter(BY_KEY);
  const keyHash = byKey.take(TAG.octetString).content;
  byKey.end();
  if (keyHash.length !== KEY_HASH_BYTES) {
    throw new Refusal('MALFORMED', `OCSP responder: a key hash of ${keyHash.length} bytes`);
  }
  return { keyHash };
}

function readStatements(list: DerReader): readonly OcspStatement[] {
  const statements: OcspStatement[] = [];
  while (!list.done) {
    if (statements.length === MAX_STATEMENTS) {
      throw new Refusal('MALFORMED', `OCSP response: more than ${MAX_STATEMENTS} statements`);
    }
    statements.push(readStatement(list.enter(TAG.sequence)));
  }
  if (statements.length === 0) throw new Refusal('MALFORMED', 'OCSP response: it is about no certificate');
  return statements;
}

function readStatement(single: DerReader): OcspStatement {
  const certId = readCertId(single);
  const status = readStatus(single);
  const thisUpdate = readTime(single, 'thisUpdate');
  const nextUpdate = single.has(CONTEXT_0) ? readWrappedTime(single.enter(CONTEXT_0)) : undefined;
  if (single.has(CONTEXT_1)) refuseCritical(readList(single.enter(CONTEXT_1)));
  single.end();
  // A tolerance at either end would turn an empty window into one that accepts.
  if (nextUpdate !== undefined && nextUpdate < thisUpdate) {
    throw new Refusal('MALFORMED', 'OCSP response: nextUpdate is before thisUpdate');
  }
  return { certId, status, thisUpdate, nextUpdate };
}

function readStatus(single: DerReader): OcspStatus {
  if (single.has(GOOD)) return readNull(single.take(GOOD), 'good');
  if (single.has(UNKNOWN)) return readNull(single.take(UNKNOWN), 'unknown');
  const info = single.enter(REVOKED);
  const since = readTime(info, 'revocationTime');
  const wrapper = info.has(CONTEXT_0) ? info.enter(CONTEXT_0) : undefined;
  const reason = wrapper && readEnumerated(wrapper, 'revocationReason');
  wrapper?.end();
  info.end();
  return { kind: 'revoked', since, reason };
}

function readNull<K extends 'good' | 'unknown'>({ content }: DerElement, kind: K): { readonly kind: K } {
  if (content.length > 0) throw new Refusal('MALFORMED', `OCSP response: status ${kind} has content`);
  return { kind };
}

/** An ENUMERATED of one byte: all that are known here are below 128. */
function readEnumerated(fields: DerReader, what: string): number {
  const { content } = fields.take(ENUMERATED);
  const value = content[0];
  if (value === undefined || value >= 0x80 || content.length > 1) {
    throw new Refusal('MALFORMED', `${what} is no ENUMERATED of one byte`);
  }
  return value;
}

/** RFC 6960 writes all times as GeneralizedTime. */
function readTime(fields: DerReader, what: string): number {
  return decodeTime(fields.take(TAG.generalizedTime), what);
}

function readWrappedTime(wrapper: DerReader): number {
  const time = readTime(wrapper, 'nextUpdate');
  wrapper.end();
  return time;
}

function readList(wrapper: DerReader): Extensions {
  const list = wrapper.enter(TAG.sequence);
  wrapper.end();
  return readExtensions(list, 'OCSP response');
}

/** The nonce is an OCTET STRING inside the extension's own (RFC 9654 section 2.1). */
function readNonce(extensions: Extensions): Uint8Array | undefined {
  refuseCritical(extensions, NONCE);
  const extension = extensions.get(NONCE);
  if (!extension) return undefined;
  const whole = new DerReader(extension.value, 'OCSP nonce');
  const { content } = whole.take(TAG.octetString);
  whole.end();
  if (content.length === 0 || content.length > MAX_NONCE_BYTES) {
    throw new Refusal('MALFORMED', `OCSP nonce of ${content.length} bytes`);
  }
  return content;
}

function refuseCritical(extensions: Extensions, processed?: string): void {
  for (const [oid, { critical }] of extensions) {
    if (critical && oid !== processed) {
      throw new Refusal('UNSUPPORTED', `the OCSP response has critical extension ${oid}`);
    }
  }
}
