import { webcrypto } from 'node:crypto';
import { KeyUsageFlags } from '@peculiar/x509';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';

// What the minted authorities of all vendors have in common.

/** Of authorities and of what they certify, where a vendor has nothing of its own. */
export const VALIDITY = {
  notBefore: new Date('2025-01-01T00:00:00Z'),
  notAfter: new Date('2035-01-01T00:00:00Z'),
} as const;

export const CA_USAGE = (KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign) as KeyUsageFlags;

/** As an anchor pins the key. */
export async function spkiSha256Of({ publicKey }: webcrypto.CryptoKeyPair): Promise<string> {
  const spki = await webcrypto.subtle.exportKey('spki', publicKey);
  return toHex(nodeCrypto.hash('sha256', new Uint8Array(spki)));
}
