import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { ALG, hasLowS, type CoseKey } from '../../attestation/cose/key.ts';

/** A private key that never leaves this process, with its public half. */
export interface SigningKey {
  readonly publicKey: CoseKey;
  /** True once the private half is gone. */
  readonly isDropped: boolean;
  /** 64 bytes: `r || s` with low s for ES256, or an Ed25519 signature. Throws once the key was dropped. */
  sign(data: Uint8Array): Uint8Array;
  /**
   * Forgets the private half. It lies in memory of OpenSSL, which wipes it when the last reference is collected; no
   * call of Node does it sooner.
   */
  drop(): void;
}

export function generateSigningKey(alg: CoseKey['alg']): SigningKey {
  return alg === ALG.ed25519 ? generateEd25519() : generateEs256();
}

function generateEd25519(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const named: CoseKey = { alg: ALG.ed25519, x: jwkMember(publicKey, 'x') };
  return hold(named, privateKey, (data, key) => sign(null, data, key));
}

function generateEs256(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const named: CoseKey = { alg: ALG.es256, x: jwkMember(publicKey, 'x'), y: jwkMember(publicKey, 'y') };
  return hold(named, privateKey, (data, key) =>
    lowerS(sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' })),
  );
}

type SignWith = (data: Uint8Array, key: KeyObject) => Uint8Array;

function hold(publicKey: CoseKey, privateKey: KeyObject, signWith: SignWith): SigningKey {
  let held: KeyObject | undefined = privateKey;
  return {
    publicKey,
    get isDropped() {
      return held === undefined;
    },
    sign(data) {
      if (!held) throw new Error('the private key was dropped');
      return signWith(data, held);
    },
    drop() {
      held = undefined;
    },
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
