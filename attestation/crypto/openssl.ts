import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';

export const X25519_BYTES = 32;
export const GCM_KEY_BYTES = 32;
export const GCM_IV_BYTES = 12;
export const GCM_TAG_BYTES = 16;
const ALGORITHM = 'aes-256-gcm';
/** PKCS#8 before the 32 bytes of an X25519 key (RFC 8410 section 7). */
const PKCS8_HEADER = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** One X25519 key as OpenSSL has it. */
export interface AgreementKey {
  readonly privateKey: KeyObject;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

const keys = new WeakMap<CryptoKey, AgreementKey>();

/**
 * An X25519 key of the HPKE library, whose 32 bytes it keeps in a member. What OpenSSL holds of it is kept as long as
 * the library's key is, and wiped when that is collected.
 */
export function agreementKey(key: CryptoKey): AgreementKey {
  const known = keys.get(key);
  if (known) return known;
  const made = importKey(key);
  keys.set(key, made);
  return made;
}

function importKey(key: CryptoKey): AgreementKey {
  const { key: raw } = key as CryptoKey & { readonly key?: unknown };
  if (!(raw instanceof Uint8Array) || raw.length !== X25519_BYTES) {
    throw new TypeError('the HPKE key is none of the library');
  }
  const der = Buffer.concat([PKCS8_HEADER, raw]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  der.fill(0);
  return { privateKey, publicKey: rawKey(createPublicKey(privateKey)) };
}

/** A fresh X25519 key, which seals one request. */
export function generateAgreementKey(): AgreementKey {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  return { privateKey, publicKey: rawKey(publicKey) };
}

function rawKey(publicKey: KeyObject): Uint8Array {
  const { x = '' } = publicKey.export({ format: 'jwk' });
  return Buffer.from(x, 'base64url');
}

/**
 * X25519 (RFC 7748): 35 µs, where the library's own takes 1 ms, in JavaScript. OpenSSL refuses points of small order,
 * whose shared secret is all zero, as RFC 9180 section 7.1.4 wants it.
 */
export function agree({ privateKey }: AgreementKey, peer: Uint8Array): Buffer {
  if (peer.length !== X25519_BYTES) throw new RangeError('an X25519 key has 32 bytes');
  // OpenSSL reads a JWK eight times as fast as DER.
  const x = Buffer.from(peer.buffer, peer.byteOffset, peer.length).toString('base64url');
  const publicKey = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'X25519', x } });
  return diffieHellman({ privateKey, publicKey });
}

/** HMAC-SHA-256 of a text in parts. */
export function hmacSha256(key: Uint8Array, ...text: readonly Uint8Array[]): Uint8Array {
  const code = createHmac('sha256', key);
  for (const part of text) code.update(part);
  return code.digest();
}

/** AES-256-GCM: ciphertext and tag, in a buffer of their own. */
export function sealGcm(
  key: Uint8Array,
  iv: Uint8Array,
  plaintext: Uint8Array,
  aad?: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const cipher = createCipheriv(ALGORITHM, key, iv);
  if (aad) cipher.setAAD(aad);
  const sealed = new Uint8Array(plaintext.length + GCM_TAG_BYTES);
  sealed.set(cipher.update(plaintext));
  cipher.final();
  sealed.set(cipher.getAuthTag(), plaintext.length);
  return sealed;
}

/** The plaintext; throws where the tag is of something else. */
export function openGcm(key: Uint8Array, iv: Uint8Array, sealed: Uint8Array, aad?: Uint8Array): Buffer {
  const length = sealed.length - GCM_TAG_BYTES;
  if (length < 0) throw new RangeError('a ciphertext has 16 bytes at least');
  const decipher = createDecipheriv(ALGORITHM, key, iv, { authTagLength: GCM_TAG_BYTES });
  if (aad) decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(length));
  const opened = decipher.update(sealed.subarray(0, length));
  decipher.final();
  return opened;
}
