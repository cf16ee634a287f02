import type { Anchor } from '../anchors.ts';
import { equalBytes, toHex } from '../bytes/bytes.ts';
import type { CryptoProvider, HashName, SignatureScheme } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Certificate } from '../x509/certificate.ts';
import type { ChainCache } from '../x509/chainCache.ts';
import { decodeOid, DerReader, TAG, type DerElement } from '../x509/der.ts';
import { hashOf, rawSignature, readAlgorithm, schemeOf } from '../x509/signature.ts';
import {
  chainsToAnchor,
  readCertificates,
  signersOf,
  verifyAuthority,
  type AuthorityChain,
} from './authority.ts';
import { parseSignedData, TST_INFO, type SignedData } from './signedData.ts';
import { magnitudeOf } from './timestampExchange.ts';
import { parseTimestampInfo, type TimestampInfo } from './timestampInfo.ts';

const CONTENT_TYPE = '1.2.840.113549.1.9.3';
const MESSAGE_DIGEST = '1.2.840.113549.1.9.4';
const SIGNING_CERTIFICATE = '1.2.840.113549.1.9.16.2.12';
const SIGNING_CERTIFICATE_V2 = '1.2.840.113549.1.9.16.2.47';
const RSA_ENCRYPTION = '1.2.840.113549.1.1.1';
/** Assumed of an authority that states no accuracy: genTime is to the second. Milliseconds. */
const UNSTATED_ACCURACY = 1000;

/** A TimeStampToken as parsed: nothing in it is trusted until `verifyTimestamp`. */
export interface Timestamp {
  readonly token: Uint8Array;
  readonly signed: SignedData;
  readonly info: TimestampInfo;
}

export interface TimestampOptions {
  /** The bytes that the token must be over; `any` where only its time is wanted. */
  readonly data: Uint8Array | 'any';
  /** Those of role `timestamp` are trusted: keys of signing certificates or of authorities above them. */
  readonly anchors: readonly Anchor[];
  readonly crypto: CryptoProvider;
  /** The nonce of the request, as it was sent; not compared without. */
  readonly nonce?: Uint8Array | undefined;
  /** DER certificates that complete the chain, where the token does not carry them. */
  readonly certificates?: readonly Uint8Array[] | undefined;
  /** DER revocation lists: a certificate on a list of its issuer is refused, unless a harmless one came after genTime. */
  readonly crls?: readonly Uint8Array[] | undefined;
  readonly chainCache?: ChainCache | undefined;
}

declare const verified: unique symbol;

/** A token that a trusted authority signed. */
export interface VerifiedTimestamp {
  readonly [verified]: true;
  readonly info: TimestampInfo;
  /** genTime, milliseconds since 1970. */
  readonly time: number;
  /** The earliest and the latest time that it may mean, milliseconds since 1970. */
  readonly earliest: number;
  readonly latest: number;
  readonly anchor: Anchor;
  /** Signing certificate first, the pinned one last. */
  readonly chain: readonly Certificate[];
}

/** Parses a token (RFC 3161 section 2.4.2): strict DER, at most 64 KiB, nothing after it. */
export function parseTimestamp(token: Uint8Array): Timestamp {
  const signed = parseSignedData(token);
  return { token, signed, info: parseTimestampInfo(signed.content) };
}

/**
 * Verifies a token: chain to a pinned key, valid at genTime; purpose of the signing certificate; signed attributes,
 * with the certificate named by a SHA-2 hash (RFC 5816); signature; imprint and nonce. A token that names no pinned
 * key is refused as `UNTRUSTED_ROOT` before anything else: anyone can make one.
 */
export async function verifyTimestamp(
  token: Uint8Array,
  options: TimestampOptions,
): Promise<VerifiedTimestamp> {
  const timestamp = parseTimestamp(token);
  const { info, signed } = timestamp;
  const chain = await verifySignedBy(timestamp, chainsOf(timestamp, options), options);
  if (options.data !== 'any') checkImprint(info, options.data, options.crypto);
  if (options.nonce) checkNonce(info, options.nonce);
  const accuracy = info.accuracy ?? UNSTATED_ACCURACY;
  const verifiedTimestamp = {
    info,
    time: info.time,
    earliest: info.time - accuracy,
    // What a fraction finer than milliseconds left out.
    latest: info.time + accuracy + (info.isFine ? 1 : 0),
    anchor: chain.anchor,
    chain: chain.certificates,
    signed,
  };
  return verifiedTimestamp as unknown as VerifiedTimestamp;
}

/** Refuses a token over other bytes than `data`. */
export function checkImprint({ imprint }: TimestampInfo, data: Uint8Array, crypto: CryptoProvider): void {
  if (equalBytes(crypto.hash(imprint.hash, data), imprint.digest)) return;
  throw new Refusal(
    'TIMESTAMP_MISMATCH',
    `the timestamp is over bytes of ${imprint.hash} ${toHex(imprint.digest)}`,
  );
}

/** Refuses the answer to another request. */
export function checkNonce({ nonce }: TimestampInfo, sent: Uint8Array): void {
  if (nonce && equalBytes(nonce, magnitudeOf(sent))) return;
  const got = nonce ? `nonce ${toHex(nonce)}` : 'no nonce';
  throw new Refusal('NONCE_MISMATCH', `the timestamp has ${got}, sent was ${toHex(sent)}`);
}

function chainsOf(
  { signed }: Timestamp,
  { anchors, certificates = [], crypto }: TimestampOptions,
): readonly AuthorityChain[] {
  const candidates = readCertificates([...signed.certificates, ...certificates]);
  const signers = signersOf(signed.signer, candidates);
  const chains = chainsToAnchor(signers, candidates, anchors, crypto);
  if (chains.length > 0) return chains;
  const [signer] = signers;
  const who = signer ? signer.subject : 'a certificate that was not supplied';
  throw new Refusal('UNTRUSTED_ROOT', `the timestamp by ${who} leads to no pinned authority`);
}

/** The first chain that verifies; the refusal of the first where none does. */
async function verifySignedBy(
  timestamp: Timestamp,
  chains: readonly AuthorityChain[],
  options: TimestampOptions,
): Promise<AuthorityChain> {
  let refusal: Refusal | undefined;
  for (const chain of chains) {
    try {
      await verifyChainOf(timestamp, chain, options);
      return chain;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      refusal ??= error;
    }
  }
  throw refusal ?? new Refusal('UNTRUSTED_ROOT', 'the timestamp leads to no pinned authority');
}

async function verifyChainOf(
  { info, signed }: Timestamp,
  chain: AuthorityChain,
  { crypto, crls = [], chainCache }: TimestampOptions,
): Promise<void> {
  const [leaf] = chain.certificates;
  if (!leaf) throw new Refusal('CERT_MISSING', 'the timestamp has no signing certificate');
  checkAttributes(signed, leaf, crypto);
  await verifyAuthority(chain, { crypto, now: info.time, crls, chainCache });
  const scheme = schemeOfSigner(signed, leaf);
  const signature = rawSignature(scheme, signed.signature);
  if (!(await crypto.verify(scheme, leaf.spki, signed.signedAttributes, signature))) {
    throw new Refusal('SIGNATURE_INVALID', `the timestamp does not verify under ${leaf.subject}`);
  }
}

/** What the signature covers: it must be of this content and by this certificate (RFC 5652 section 5.4, RFC 5816). */
function checkAttributes(
  { attributes, content, hash }: SignedData,
  leaf: Certificate,
  crypto: CryptoProvider,
): void {
  const type = attributes.get(CONTENT_TYPE);
  if (type?.tag !== TAG.oid || decodeOid(type.content) !== TST_INFO) {
    throw new Refusal('MALFORMED', 'the signed content type of the timestamp is no TSTInfo');
  }
  const digest = attributes.get(MESSAGE_DIGEST);
  if (digest?.tag !== TAG.octetString || !equalBytes(digest.content, crypto.hash(hash, content))) {
    throw new Refusal('SIGNATURE_INVALID', 'the signed digest is not that of the timestamp');
  }
  const certificate = attributes.get(SIGNING_CERTIFICATE_V2);
  if (!certificate) {
    const code = attributes.has(SIGNING_CERTIFICATE) ? 'UNSUPPORTED' : 'MALFORMED';
    throw new Refusal(code, 'the timestamp does not name its certificate by a SHA-2 hash (RFC 5816)');
  }
  checkCertificateId(certificate, leaf, crypto);
}

/** The first ESSCertIDv2 is of the signer. Its hash covers issuer and serial, which it may repeat. */
function checkCertificateId(attribute: DerElement, leaf: Certificate, crypto: CryptoProvider): void {
  const value = new DerReader(attribute.encoded, 'signing certificate').enterLast(TAG.sequence);
  const id = value.enter(TAG.sequence).enter(TAG.sequence);
  const algorithm = id.optional(TAG.sequence);
  const hash: HashName | undefined = algorithm ? hashOf(algorithm) : 'sha256';
  if (!hash) throw new Refusal('UNSUPPORTED', 'the timestamp names its certificate by an unknown hash');
  const { content: digest } = id.take(TAG.octetString);
  if (equalBytes(digest, crypto.hash(hash, leaf.der))) return;
  throw new Refusal('CERT_CHAIN_INVALID', 'the timestamp names another signing certificate');
}

/** RSA with PKCS #1 v1.5 may be named by its key alone: the hash is then that of the digest (RFC 5754 section 3.2). */
function schemeOfSigner({ signatureAlgorithm, hash }: SignedData, leaf: Certificate): SignatureScheme {
  if (readAlgorithm(signatureAlgorithm, 'signature algorithm').oid === RSA_ENCRYPTION) {
    return { kind: 'rsa-pkcs1', hash };
  }
  return schemeOf(signatureAlgorithm, leaf.spki);
}
