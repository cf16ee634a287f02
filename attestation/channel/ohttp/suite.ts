import { type AeadInterface, Aes128Gcm, Aes256Gcm, CipherSuite } from '@hpke/core';
import { DhkemX25519HkdfSha256 } from '@hpke/dhkem-x25519';
import { portableCrypto } from '../../crypto/portable.ts';
import { Refusal } from '../../errors.ts';
import { HmacHkdf } from '../hkdf.ts';

/** Identifiers of RFC 9180 section 7. */
export const KEM_X25519 = 0x0020;
const KDF_SHA256 = 0x0001;
const AEAD = { aes128: 0x0001, aes256: 0x0002 } as const;

/** Encapsulated keys and public keys of X25519, bytes. */
export const X25519_BYTES = 32;
/** Nonces (Nn) and tags of both AEADs, bytes. */
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;

/** How the bytes of a request are sealed, besides the KEM. */
export interface Symmetric {
  readonly kdf: number;
  readonly aead: number;
}

/** What a gateway of ours takes, the one of the keyset first. */
export const SYMMETRIC: readonly Symmetric[] = [
  { kdf: KDF_SHA256, aead: AEAD.aes256 },
  { kdf: KDF_SHA256, aead: AEAD.aes128 },
];

export function isKnown({ kdf, aead }: Symmetric): boolean {
  return SYMMETRIC.some((known) => known.kdf === kdf && known.aead === aead);
}

export function aeadOf({ kdf, aead }: Symmetric): AeadInterface {
  if (kdf === KDF_SHA256 && aead === AEAD.aes256) return new Aes256Gcm();
  if (kdf === KDF_SHA256 && aead === AEAD.aes128) return new Aes128Gcm();
  throw new Refusal('UNSUPPORTED', `HPKE with KDF ${kdf} and AEAD ${aead} is not known`);
}

export function suiteOf(symmetric: Symmetric): CipherSuite {
  return new CipherSuite({
    kem: new DhkemX25519HkdfSha256(),
    kdf: new HmacHkdf(portableCrypto),
    aead: aeadOf(symmetric),
  });
}
