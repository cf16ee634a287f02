import { fromHex, fromUtf8 } from '../bytes/bytes.ts';
import type { HashName } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { decodeBoolean, decodeOid, decodeUint, DerReader, TAG } from '../x509/der.ts';
import { element, positiveInteger } from '../x509/derWriter.ts';
import { readImprint, readNumber } from './timestampInfo.ts';

/** Media types of RFC 3161 section 3.4. */
export const TIMESTAMP_QUERY = 'application/timestamp-query';
export const TIMESTAMP_REPLY = 'application/timestamp-reply';

const MAX_REQUEST_BYTES = 4096;
const MAX_RESPONSE_BYTES = 128 * 1024;
/** Encoded AlgorithmIdentifiers, with the NULL that some authorities expect, and lengths of digests in bytes. */
const IMPRINTS = {
  sha256: { algorithm: fromHex('300d06096086480165030402010500'), length: 32 },
  sha384: { algorithm: fromHex('300d06096086480165030402020500'), length: 48 },
  sha512: { algorithm: fromHex('300d06096086480165030402030500'), length: 64 },
} as const;
const EXTENSIONS = 0xa0;
/** PKIStatus of RFC 3161 section 2.4.2: granted, and granted with modifications. */
const GRANTED: readonly number[] = [0, 1];
const MAX_TEXTS = 8;

/** What is asked of a timestamp authority (RFC 3161 section 2.4.1). */
export interface TimestampRequest {
  readonly hash: HashName;
  readonly digest: Uint8Array;
  /** Big-endian; leading zeros do not count. */
  readonly nonce: Uint8Array | undefined;
  /** OID of the policy that is asked for. */
  readonly policy: string | undefined;
  /** Whether the token shall carry the authority's certificates. */
  readonly certReq: boolean;
}

/** The request for a digest, of SHA-256 where not said: the body of a POST of type `application/timestamp-query`. */
export function encodeTimestampRequest({
  hash = 'sha256',
  digest,
  nonce,
  certReq,
}: Pick<TimestampRequest, 'digest' | 'nonce' | 'certReq'> & {
  readonly hash?: keyof typeof IMPRINTS;
}): Uint8Array {
  const { algorithm, length } = IMPRINTS[hash];
  if (digest.length !== length) throw new RangeError(`a digest of ${hash} has ${length} bytes`);
  return element(
    TAG.sequence,
    positiveInteger(Uint8Array.of(1)),
    element(TAG.sequence, algorithm, element(TAG.octetString, digest)),
    nonce ? positiveInteger(magnitudeOf(nonce)) : EMPTY,
    // DER leaves the default out.
    certReq ? element(TAG.boolean, Uint8Array.of(0xff)) : EMPTY,
  );
}

const EMPTY = new Uint8Array();

/** Without leading zeros: an INTEGER does not keep them. */
export function magnitudeOf(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  return first === -1 ? EMPTY : bytes.subarray(first);
}

export function parseTimestampRequest(bytes: Uint8Array): TimestampRequest {
  if (bytes.length > MAX_REQUEST_BYTES) throw new Refusal('MALFORMED', 'the timestamp request is too large');
  const fields = new DerReader(bytes, 'timestamp request').enterLast(TAG.sequence);
  if (decodeUint(fields.take(), 'timestamp request version') !== 1) {
    throw new Refusal('UNSUPPORTED', 'the timestamp request is not of version 1');
  }
  const { hash, digest } = readImprint(fields.enter(TAG.sequence));
  const policy = fields.optional(TAG.oid);
  const nonce = fields.optional(TAG.integer);
  const certReq = fields.optional(TAG.boolean);
  if (fields.has(EXTENSIONS)) {
    throw new Refusal('UNSUPPORTED', 'the timestamp request has extensions, of which none is known');
  }
  fields.end();
  return {
    hash,
    digest,
    policy: policy && decodeOid(policy.content),
    nonce: nonce && readNumber(nonce, 'timestamp nonce'),
    certReq: certReq !== undefined && decodeBoolean(certReq, 'certReq'),
  };
}

/** The token of a TimeStampResp (RFC 3161 section 2.4.2); what was not granted is refused, with the reason given. */
export function parseTimestampResponse(bytes: Uint8Array): Uint8Array {
  if (bytes.length > MAX_RESPONSE_BYTES)
    throw new Refusal('MALFORMED', 'the timestamp response is too large');
  const fields = new DerReader(bytes, 'timestamp response').enterLast(TAG.sequence);
  const info = fields.enter(TAG.sequence);
  const status = decodeUint(info.take(), 'timestamp status');
  const text = info.has(TAG.sequence) ? readTexts(info.enter(TAG.sequence)) : '';
  info.optional(TAG.bitString);
  info.end();
  if (!GRANTED.includes(status)) {
    const said = text === '' ? '' : `: ${text}`;
    throw new Refusal('TIMESTAMP_NOT_GRANTED', `the timestamp authority answered status ${status}${said}`);
  }
  const token = fields.take(TAG.sequence);
  fields.end();
  return token.encoded;
}

/** PKIFreeText: what the authority says to a person, unsigned. */
function readTexts(list: DerReader): string {
  const texts: string[] = [];
  while (!list.done) {
    if (texts.length === MAX_TEXTS)
      throw new Refusal('MALFORMED', 'the timestamp response has too many texts');
    texts.push(fromUtf8(list.take(TAG.utf8String).content).slice(0, 200));
  }
  return texts.join('; ');
}
