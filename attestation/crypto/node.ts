import { constants, createPublicKey, hash, type KeyObject, verify } from 'node:crypto';
import { promisify } from 'node:util';
import { equalBytes, fromHex } from '../bytes/bytes.ts';
import { decodeBitString, decodeInteger, DerReader, readOnly, TAG } from '../x509/der.ts';
import { nodeSender } from './nodeHpke.ts';
import { hmacSha256 } from './openssl.ts';
import type { CryptoProvider, SignatureScheme } from './provider.ts';

/** Name of the curve in OpenSSL, and SubjectPublicKeyInfo before an uncompressed point's coordinates (RFC 5480). */
const CURVES = {
  'P-256': {
    name: 'prime256v1',
    header: fromHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004'),
    coordinate: 32,
  },
  'P-384': {
    name: 'secp384r1',
    header: fromHex('3076301006072a8648ce3d020106052b8104002203620004'),
    coordinate: 48,
  },
  'P-521': {
    name: 'secp521r1',
    header: fromHex('30819b301006072a8648ce3d020106052b810400230381860004'),
    coordinate: 66,
  },
} as const;
/** SubjectPublicKeyInfo before an Ed25519 key (RFC 8410 section 4). */
const ED25519_HEADER = fromHex('302a300506032b6570032100');
/** AlgorithmIdentifier of rsaEncryption with its NULL (RFC 3279 section 2.3.1). */
const RSA_ENCRYPTION = fromHex('300d06092a864886f70d0101010500');

/** More bytes than these are hashed off the event loop. */
const MAX_QUICK_DATA = 64 * 1024;
/** Modulus and exponent, in bytes, above which an RSA verification is no longer cheap. */
const MAX_QUICK_MODULUS = 4096 / 8;
const MAX_QUICK_EXPONENT = 4;
/** In bytes: OpenSSL verifies under no modulus of more than 16,384 bits. */
const MAX_SALT = 16_384 / 8;
/** SubjectPublicKeyInfo of RSA-8192 has 1,062 bytes; larger ones are not kept. */
const MAX_KEPT_KEY = 2048;

/** Keys of the CPU and of every device of the largest machine, and of the statements about them, with room to spare. */
const ONE_VERIFICATION = 128;

const verifyOffThread = promisify(verify);

interface ImportedKey {
  readonly key: KeyObject;
  /** Whether one verification takes about 0.1 ms: less than a thread's coming and going is worth. */
  readonly isQuick: boolean;
}

type KeyKind = keyof typeof CURVES | 'ed25519' | 'rsa';

function keyKindOf(scheme: SignatureScheme): KeyKind {
  switch (scheme.kind) {
    case 'ecdsa':
      return scheme.curve;
    case 'ed25519':
      return 'ed25519';
    case 'rsa-pss':
    case 'rsa-pkcs1':
      return 'rsa';
  }
}

/** The key, if it is one of the kind. Throws where it is none at all. */
function importKey(kind: KeyKind, spki: Uint8Array): ImportedKey | undefined {
  if (kind === 'ed25519') return importEd25519(spki);
  return kind === 'rsa' ? importRsa(spki) : importEc(kind, spki);
}

/** As JWK a P-256 key is read in two thirds of the time; over one on a larger curve OpenSSL takes longer. */
function importEc(curve: keyof typeof CURVES, spki: Uint8Array): ImportedKey | undefined {
  const { name, header, coordinate } = CURVES[curve];
  const point = after(header, spki, 2 * coordinate);
  if (point && curve === 'P-256') {
    const [x, y] = [base64Url(point.subarray(0, coordinate)), base64Url(point.subarray(coordinate))];
    return { key: createPublicKey({ key: { kty: 'EC', crv: curve, x, y }, format: 'jwk' }), isQuick: true };
  }
  readOnly(spki, TAG.sequence, 'public key');
  const key = createPublicKey({ key: asBuffer(spki), format: 'der', type: 'spki' });
  const fits =
    point !== undefined || (key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === name);
  return fits ? { key, isQuick: curve === 'P-256' } : undefined;
}

function importEd25519(spki: Uint8Array): ImportedKey | undefined {
  const bytes = after(ED25519_HEADER, spki, 32);
  if (!bytes) return undefined;
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: base64Url(bytes) };
  return { key: createPublicKey({ key: jwk, format: 'jwk' }), isQuick: true };
}

/**
 * The RSAPublicKey inside (RFC 8017 appendix A.1.1) is read fifty times as fast as the SubjectPublicKeyInfo around
 * it, which OpenSSL tries on all of its decoders.
 */
function importRsa(spki: Uint8Array): ImportedKey | undefined {
  const members = new DerReader(spki, 'public key').enterLast(TAG.sequence);
  if (!equalBytes(members.take().encoded, RSA_ENCRYPTION)) return undefined;
  const pkcs1 = decodeBitString(members.take(), 'public key');
  members.end();
  const numbers = new DerReader(pkcs1, 'RSA key').enterLast(TAG.sequence);
  const modulus = decodeInteger(numbers.take(), 'modulus');
  const exponent = decodeInteger(numbers.take(), 'exponent');
  numbers.end();
  return {
    key: createPublicKey({ key: asBuffer(pkcs1), format: 'der', type: 'pkcs1' }),
    // One byte more is the sign of a modulus.
    isQuick: modulus.length <= MAX_QUICK_MODULUS + 1 && exponent.length <= MAX_QUICK_EXPONENT,
  };
}

/** The bytes after a header, if the whole has it and exactly that many follow. */
function after(header: Uint8Array, bytes: Uint8Array, length: number): Uint8Array | undefined {
  const fits =
    bytes.length === header.length + length && equalBytes(bytes.subarray(0, header.length), header);
  return fits ? bytes.subarray(header.length) : undefined;
}

function base64Url(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64url');
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

type VerifyKey = Parameters<typeof verify>[2];

/** Hash and key as `node:crypto` wants them for the scheme. */
function verifyArguments(scheme: SignatureScheme, key: KeyObject): readonly [string | null, VerifyKey] {
  switch (scheme.kind) {
    case 'ecdsa':
      return [scheme.hash, { key, dsaEncoding: 'ieee-p1363' }];
    case 'ed25519':
      return [null, key];
    case 'rsa-pss': {
      const padding = constants.RSA_PKCS1_PSS_PADDING;
      return [scheme.hash, { key, padding, saltLength: scheme.saltLength }];
    }
    case 'rsa-pkcs1':
      return [scheme.hash, { key, padding: constants.RSA_PKCS1_PADDING }];
  }
}

/** OpenSSL gives negative lengths of the salt a meaning of its own, and lengths beyond 32 bits wrap into them. */
function hasPossibleSalt(scheme: SignatureScheme): boolean {
  return scheme.kind !== 'rsa-pss' || (scheme.saltLength >= 0 && scheme.saltLength <= MAX_SALT);
}

function providerWith(findKey: typeof importKey): CryptoProvider {
  return {
    hash: (name, bytes) => hash(name, bytes, 'buffer'),
    hmacSha256: (key, bytes) => hmacSha256(key, bytes),
    hpke: nodeSender,
    async verify(scheme, spki, data, signature) {
      try {
        const found = hasPossibleSalt(scheme) ? findKey(keyKindOf(scheme), spki) : undefined;
        if (!found) return false;
        const [name, key] = verifyArguments(scheme, found.key);
        if (found.isQuick && data.length <= MAX_QUICK_DATA) return verify(name, data, key, signature);
        return await verifyOffThread(name, data, key, signature);
      } catch {
        return false;
      }
    },
  };
}

/**
 * Cryptography of Node: OpenSSL. A verification of about 0.1 ms (P-256, Ed25519, RSA to 4096 bits) is made on the
 * spot; longer ones (P-384 and P-521 take 0.6 and 1.5 ms, keys of unusual size more) in the thread pool, where several
 * run side by side and none holds up the event loop.
 */
export const nodeCrypto: CryptoProvider = {
  ...providerWith(importKey),
  forOneVerification: () => createNodeCrypto(ONE_VERIFICATION),
};

/**
 * The same for a caller who verifies much under few keys, vendors' above all: it keeps the `limit` keys last used,
 * for reading one takes as long as a verification. A key is found by its kind and its exact bytes, so the answers
 * are those of `nodeCrypto`.
 */
export function createNodeCrypto(limit: number): CryptoProvider {
  if (!Number.isSafeInteger(limit) || limit < 1) throw new RangeError('a key cache holds at least one key');
  // A Map keeps the order of insertion: its first key is the one longest unused.
  const keys = new Map<string, ImportedKey>();
  return providerWith((kind, spki) => {
    const id = `${kind} ${asBuffer(spki).toString('latin1')}`;
    const found = keys.get(id) ?? importKey(kind, spki);
    if (!found || spki.length > MAX_KEPT_KEY) return found;
    keys.delete(id);
    keys.set(id, found);
    const [oldest] = keys.keys();
    if (keys.size > limit && oldest !== undefined) keys.delete(oldest);
    return found;
  });
}
