import { Refusal } from '../errors.ts';
import type { HashName, SignatureScheme } from '../crypto/provider.ts';
import { decodeOid, decodeUint, decodeUnsigned, DerReader, readOnly, TAG, type DerElement } from './der.ts';

const ECDSA: Readonly<Record<string, HashName>> = {
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
};
const RSA_PKCS1: Readonly<Record<string, HashName>> = {
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
};
const HASH: Readonly<Record<string, HashName>> = {
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};
const RSA_PSS = '1.2.840.113549.1.1.10';
const MGF1 = '1.2.840.113549.1.1.8';
const ED25519 = '1.3.101.112';

const EC_PUBLIC_KEY = '1.2.840.10045.2.1';
const CURVES = {
  '1.2.840.10045.3.1.7': { curve: 'P-256', size: 32 },
  '1.3.132.0.34': { curve: 'P-384', size: 48 },
  '1.3.132.0.35': { curve: 'P-521', size: 66 },
} as const;
const SCALAR_BYTES = { 'P-256': 32, 'P-384': 48, 'P-521': 66 } as const;
/** Context tags of RSASSA-PSS-params. */
const PSS = { hash: 0xa0, maskGeneration: 0xa1, saltLength: 0xa2, trailerField: 0xa3 } as const;

interface Algorithm {
  readonly oid: string;
  readonly parameters: Uint8Array | undefined;
}

/** AlgorithmIdentifier of RFC 5280 section 4.1.1.2. */
export function readAlgorithm(encoded: Uint8Array, what: string): Algorithm {
  const algorithm = new DerReader(encoded, what).enterLast(TAG.sequence);
  const oid = decodeOid(algorithm.take(TAG.oid).content);
  const parameters = algorithm.done ? undefined : algorithm.take().encoded;
  algorithm.end();
  return { oid, parameters };
}

/** Curve of an EC SubjectPublicKeyInfo, with the size of its scalars in bytes; undefined for other keys. */
export function curveOf(
  spki: Uint8Array,
): { readonly curve: 'P-256' | 'P-384' | 'P-521'; readonly size: number } | undefined {
  const key = new DerReader(readOnly(spki, TAG.sequence, 'public key').content, 'public key');
  const { oid, parameters } = readAlgorithm(key.take().encoded, 'public key algorithm');
  if (oid !== EC_PUBLIC_KEY || !parameters) return undefined;
  const name = decodeOid(readOnly(parameters, TAG.oid, 'curve').content);
  return name in CURVES ? CURVES[name as keyof typeof CURVES] : undefined;
}

/**
 * The scheme that an X.509 AlgorithmIdentifier names, for the issuer's key. Unknown algorithms, SHA-1 and MD5
 * among them, are refused as `UNSUPPORTED`.
 */
export function schemeOf(algorithm: Uint8Array, issuerSpki: Uint8Array): SignatureScheme {
  const { oid, parameters } = readAlgorithm(algorithm, 'signature algorithm');
  const ecdsaHash = ECDSA[oid];
  if (ecdsaHash) {
    const key = curveOf(issuerSpki);
    if (!key)
      throw new Refusal('CERT_CHAIN_INVALID', 'an ECDSA signature needs an issuer key on a NIST curve');
    return { kind: 'ecdsa', curve: key.curve, hash: ecdsaHash };
  }
  const rsaHash = RSA_PKCS1[oid];
  if (rsaHash) return { kind: 'rsa-pkcs1', hash: rsaHash };
  if (oid === RSA_PSS) return pssScheme(parameters);
  if (oid === ED25519) return { kind: 'ed25519' };
  throw new Refusal('UNSUPPORTED', `signature algorithm ${oid} is not supported`);
}

/**
 * RSASSA-PSS parameters of RFC 4055 section 3.1; MGF1 must use the same hash. Left out they mean SHA-1, which is not
 * supported, a salt of 20 bytes and trailer field 1.
 */
function pssScheme(parameters: Uint8Array | undefined): SignatureScheme {
  if (!parameters) throw new Refusal('MALFORMED', 'RSASSA-PSS has no parameters');
  const { content } = readOnly(parameters, TAG.sequence, 'RSASSA-PSS parameters');
  const members = new DerReader(content, 'RSASSA-PSS parameters');
  const hash = hashOf(explicit(members, PSS.hash));
  const maskHash = maskHashOf(explicit(members, PSS.maskGeneration));
  const saltLength = explicit(members, PSS.saltLength);
  const trailer = explicit(members, PSS.trailerField);
  members.end();
  if (!hash || maskHash !== hash || (trailer && decodeUint(trailer, 'trailer field') !== 1)) {
    throw new Refusal('UNSUPPORTED', 'RSASSA-PSS parameters are not supported');
  }
  return { kind: 'rsa-pss', hash, saltLength: saltLength ? decodeUint(saltLength, 'salt length') : 20 };
}

/** The element inside an explicit context tag, if one is next. */
function explicit(members: DerReader, tag: number): DerElement | undefined {
  if (!members.has(tag)) return undefined;
  const wrapper = members.enter(tag);
  const element = wrapper.take();
  wrapper.end();
  return element;
}

/** A hash AlgorithmIdentifier, whose parameters are absent or NULL (RFC 4055 section 2.1); undefined for others. */
export function hashOf(algorithm: DerElement | undefined): HashName | undefined {
  if (!algorithm) return undefined;
  const { oid, parameters } = readAlgorithm(algorithm.encoded, 'hash algorithm');
  if (parameters) readOnly(parameters, TAG.null, 'parameters of the hash algorithm');
  return HASH[oid];
}

function maskHashOf(algorithm: DerElement | undefined): HashName | undefined {
  if (!algorithm) return undefined;
  const { oid, parameters } = readAlgorithm(algorithm.encoded, 'mask generation');
  if (oid !== MGF1 || !parameters) return undefined;
  return hashOf(readOnly(parameters, TAG.sequence, 'MGF1 hash'));
}

/** An ECDSA signature in DER (RFC 3279 section 2.2.3) as fixed-length `r || s`; others unchanged. */
export function rawSignature(scheme: SignatureScheme, signature: Uint8Array): Uint8Array {
  if (scheme.kind !== 'ecdsa') return signature;
  const size = SCALAR_BYTES[scheme.curve];
  const scalars = new DerReader(signature, 'ECDSA signature').enterLast(TAG.sequence);
  const raw = new Uint8Array(2 * size);
  writeScalar(raw.subarray(0, size), scalars.take());
  writeScalar(raw.subarray(size), scalars.take());
  scalars.end();
  return raw;
}

/** Writes a positive INTEGER right-aligned into a field of fixed length. */
function writeScalar(field: Uint8Array, element: DerElement): void {
  const positive = decodeUnsigned(element, 'ECDSA signature scalar');
  if (positive.length > field.length) {
    throw new Refusal('MALFORMED', 'ECDSA signature scalar is out of range');
  }
  field.set(positive, field.length - positive.length);
}
