import { constants, createHmac, createPublicKey, hash, type KeyObject, verify } from 'node:crypto';
import { promisify } from 'node:util';
import type { CryptoProvider, SignatureScheme } from './provider.ts';

const CURVES = { 'P-256': 'prime256v1', 'P-384': 'secp384r1', 'P-521': 'secp521r1' } as const;
const verifyOffThread = promisify(verify);

function keyFits(key: KeyObject, scheme: SignatureScheme): boolean {
  switch (scheme.kind) {
    case 'ecdsa':
      return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === CURVES[scheme.curve];
    case 'ed25519':
      return key.asymmetricKeyType === 'ed25519';
    case 'rsa-pss':
    case 'rsa-pkcs1':
      return key.asymmetricKeyType === 'rsa';
  }
}

function verifyWith(
  key: KeyObject,
  scheme: SignatureScheme,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  switch (scheme.kind) {
    case 'ecdsa':
      return verifyOffThread(scheme.hash, data, { key, dsaEncoding: 'ieee-p1363' }, signature);
    case 'ed25519':
      return verifyOffThread(null, data, key, signature);
    case 'rsa-pss': {
      const padding = constants.RSA_PKCS1_PSS_PADDING;
      return verifyOffThread(scheme.hash, data, { key, padding, saltLength: scheme.saltLength }, signature);
    }
    case 'rsa-pkcs1':
      return verifyOffThread(scheme.hash, data, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
  }
}

/** Cryptography of Node: OpenSSL, signatures checked off the event loop. */
export const nodeCrypto: CryptoProvider = {
  hash: (name, bytes) => hash(name, bytes, 'buffer'),
  hmacSha256: (key, bytes) => createHmac('sha256', key).update(bytes).digest(),
  async verify(scheme, spki, data, signature) {
    try {
      const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
      return keyFits(key, scheme) && (await verifyWith(key, scheme, data, signature));
    } catch {
      return false;
    }
  },
};
