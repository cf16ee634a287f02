import { AsnConvert } from '@peculiar/asn1-schema';
import { RsaSaPssParams } from '@peculiar/asn1-rsa';
import { Refusal } from '../errors.ts';
import type { HashName, SignatureScheme } from '../crypto/provider.ts';
import { decodeOid, readElements, readOnly, TAG } from './der.ts';

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

interface Algorithm {
  readonly oid: string;
  readonly parameters: Uint8Array | undefined;
}

/** AlgorithmIdentifier of RFC 5280 section 4.1.1.2. */
export function readAlgorithm(encoded: Uint8Array, what: string): Algorithm {
  const [oid, parameters, extra] = readElements(readOnly(encoded, TAG.sequence, what).content, what);
  if (oid?.tag !== TAG.oid || extra) throw new Refusal('MALFORMED', `${what}: no AlgorithmIdentifier`);
  return { oid: decodeOid(oid.content), parameters: parameters?.encoded };
}

/** Curve of an EC SubjectPublicKeyInfo, with the size of its scalars in bytes; undefined for other keys. */
export function curveOf(
  spki: Uint8Array,
): { readonly curve: 'P-256' | 'P-384' | 'P-521'; readonly size: number } | undefined {
  const [algorithm] = readElements(readOnly(spki, TAG.sequence, 'public key').content, 'public key');
  if (!algorithm) throw new Refusal('MALFORMED', 'public key has no algorithm');
  const { oid, parameters } = readAlgorithm(algorithm.encoded, 'public key algorithm');
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

/** RSASSA-PSS parameters of RFC 4055 section 3.1; MGF1 must use the same hash. */
function pssScheme(parameters: Uint8Array | undefined): SignatureScheme {
  if (!parameters) throw new Refusal('MALFORMED', 'RSASSA-PSS has no parameters');
  const parsed = parsePssParameters(parameters);
  const hash = HASH[parsed.hashAlgorithm.algorithm];
  const mask = parsed.maskGenAlgorithm;
  const maskHash =
    mask.algorithm === MGF1 && mask.parameters
      ? HASH[readAlgorithm(new Uint8Array(mask.parameters), 'MGF1 hash').oid]
      : undefined;
  if (!hash || maskHash !== hash || parsed.trailerField !== 1) {
    throw new Refusal('UNSUPPORTED', 'RSASSA-PSS parameters are not supported');
  }
  return { kind: 'rsa-pss', hash, saltLength: parsed.saltLength };
}

function parsePssParameters(parameters: Uint8Array): RsaSaPssParams {
  try {
    return AsnConvert.parse(parameters, RsaSaPssParams);
  } catch {
    throw new Refusal('MALFORMED', 'RSASSA-PSS parameters are unreadable');
  }
}

/** An ECDSA signature in DER (RFC 3279 section 2.2.3) as fixed-length `r || s`; others unchanged. */
export function rawSignature(scheme: SignatureScheme, signature: Uint8Array): Uint8Array {
  if (scheme.kind !== 'ecdsa') return signature;
  const size = { 'P-256': 32, 'P-384': 48, 'P-521': 66 }[scheme.curve];
  const [r, s, extra] = readElements(
    readOnly(signature, TAG.sequence, 'ECDSA signature').content,
    'ECDSA signature',
  );
  if (r?.tag !== TAG.integer || s?.tag !== TAG.integer || extra) {
    throw new Refusal('MALFORMED', 'ECDSA signature is not two INTEGERs');
  }
  const raw = new Uint8Array(2 * size);
  raw.set(scalar(r.content, size), 0);
  raw.set(scalar(s.content, size), size);
  return raw;
}

function scalar(content: Uint8Array, size: number): Uint8Array {
  const positive = content[0] === 0 ? content.subarray(1) : content;
  if (positive.length > size || ((content[0] ?? 0x80) & 0x80) !== 0) {
    throw new Refusal('MALFORMED', 'ECDSA signature scalar is out of range');
  }
  const padded = new Uint8Array(size);
  padded.set(positive, size - positive.length);
  return padded;
}
