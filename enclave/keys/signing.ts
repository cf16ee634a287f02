import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { ALG, hasLowS, type CoseKey } from '../../attestation/cose/key.ts';

/** A private key that never leaves this process, with its public half. */
export interface SigningKey {
  readonly publicKey: CoseKey;
  /** 64 bytes: `r || s` with low s for ES256, or an Ed25519 signature. */
  sign(data: Uint8Array): Uint8Array;
}

export function generateSigningKey(alg: CoseKey['alg']): SigningKey {
  return alg === ALG.ed25519 ? generateEd25519() : generateEs256();
}

function generateEd25519(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    publicKey: { alg: ALG.ed25519, x: jwkMember(publicKey, 'x') },
    sign: (data) => sign(null, data, privateKey),
  };
}

function generateEs256(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return {
    publicKey: { alg: ALG.es256, x: jwkMember(publicKey, 'x'), y: jwkMember(publicKey, 'y') },
    sign: (data) => lowerS(sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' })),
  };
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
