import { generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';

export interface RsaKeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** A fresh RSA key of so many bits. */
export function makeRsaKeyPair(modulusLength: number): Promise<RsaKeyPair> {
  return promisify(generateKeyPair)('rsa', { modulusLength });
}
