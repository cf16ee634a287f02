import { generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';

const generate = promisify(generateKeyPair);
const signOffThread = promisify(sign);

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** A fresh P-384 key: the kind that AMD and NVIDIA put into their chips. */
export function generateP384(): Promise<KeyPair> {
  return generate('ec', { namedCurve: 'P-384' });
}

/** ECDSA with SHA-384 as `r || s`, 96 bytes big endian, made off the event loop. */
export async function signP384(data: Uint8Array, key: KeyObject): Promise<Uint8Array> {
  return new Uint8Array(await signOffThread('sha384', data, { key, dsaEncoding: 'ieee-p1363' }));
}
