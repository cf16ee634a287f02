import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { ALG, hasLowS, type CoseKey } from '../../attestation/cose/key.ts';

/** A private key that never leaves this process, with its public half. */
export interface SigningKey {
  readonly publicKey: CoseKey;
  /** 64 bytes: `r || s` with low s for ES256, or an Ed25519 signature. */
  sign(data: Uint8Array): Uint8Array;
  /** Signatures of several messages, in their order. */
  signAll(messages: readonly Uint8Array[]): Promise<readonly Uint8Array[]>;
}

/** The private half, as it may go to a thread of this process. */
export interface PrivateKey {
  readonly alg: CoseKey['alg'];
  readonly key: KeyObject;
}

export interface GeneratedKey {
  readonly publicKey: CoseKey;
  readonly privateKey: PrivateKey;
}

export function generateKey(alg: CoseKey['alg']): GeneratedKey {
  if (alg === ALG.ed25519) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    return { publicKey: { alg, x: jwkMember(publicKey, 'x') }, privateKey: { alg, key: privateKey } };
  }
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const point = { x: jwkMember(publicKey, 'x'), y: jwkMember(publicKey, 'y') };
  return { publicKey: { alg, ...point }, privateKey: { alg, key: privateKey } };
}

/** A key that signs where it is called. */
export function generateSigningKey(alg: CoseKey['alg']): SigningKey {
  const { publicKey, privateKey } = generateKey(alg);
  return {
    publicKey,
    sign: (data) => signWith(privateKey, data),
    signAll: (messages) => Promise.resolve(messages.map((message) => signWith(privateKey, message))),
  };
}

export function signWith({ alg, key }: PrivateKey, data: Uint8Array): Uint8Array {
  if (alg === ALG.ed25519) return sign(null, data, key);
  return lowerS(sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' }));
}

function jwkMember(key: KeyObject, member: 'x' | 'y'): Uint8Array {
  const value = key.export({ format: 'jwk' })[member];
  if (value === undefined) throw new TypeError(`public key has no ${member}`);
  return Buffer.from(value, 'base64url');
}

// Order of P-256 (SEC 2 section 2.4.2).
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** Replaces `s` by `n - s` where it is above n/2: of the two valid forms, ours is the low one. */
export function lowerS(signature: Uint8Array): Uint8Array {
  if (hasLowS(signature)) return signature;
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).toString('hex')}`);
  const lowered = Buffer.from(signature);
  lowered.write((P256_ORDER - s).toString(16).padStart(64, '0'), 32, 'hex');
  return lowered;
}
