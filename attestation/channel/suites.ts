import {
  Aes256Gcm,
  CipherSuite,
  DhkemX25519HkdfSha256 as PlatformX25519,
  type KemInterface,
} from '@hpke/core';
import { DhkemX25519HkdfSha256 } from '@hpke/dhkem-x25519';
import { portableCrypto } from '../crypto/portable.ts';
import { Refusal } from '../errors.ts';
import { HPKE_SUITE, HYBRID_SUITE, isSuite, type HpkeKey, type Keyset } from '../keyset.ts';
import { HmacHkdf } from './hkdf.ts';
import { libraryRuntime, type HpkeSender } from './runtime.ts';

/** The suite that a caller asks for: the hybrid one, the classical one, or the hybrid one where the keyset has it. */
export type WantedSuite = 'hybrid' | 'x25519' | 'auto';

/** Encapsulated key, bytes: it tells the suite of a request. */
export const ENC_BYTES = { x25519: 32, hybrid: 1120 } as const;

/** The entry of a verified keyset that a request is sealed to. Refuses as `UNSUPPORTED` what the keyset has not. */
export function chooseSuite({ hpke }: Pick<Keyset, 'hpke'>, wanted: WantedSuite): HpkeKey {
  const hybrid = hpke.find((key) => isSuite(key, HYBRID_SUITE));
  if (wanted !== 'x25519' && hybrid) return hybrid;
  const classical = hpke.find((key) => isSuite(key, HPKE_SUITE));
  if (wanted !== 'hybrid' && classical) return classical;
  throw new Refusal(
    'UNSUPPORTED',
    wanted === 'hybrid'
      ? 'the keyset has no hybrid post-quantum HPKE key: ask for x25519 or auto, or another service'
      : 'the keyset has no HPKE key of a suite that is known here',
  );
}

/** X25519, HKDF-SHA256, AES-256-GCM; private keys are 32 bytes in an object of the library. */
export function hpkeSuite(): CipherSuite {
  return suiteOf(new DhkemX25519HkdfSha256());
}

/** X-Wing, which is ML-KEM-768 with X25519, HKDF-SHA256, AES-256-GCM. */
export async function hybridSuite(): Promise<CipherSuite> {
  const { XWing } = await import('@hpke/hybridkem-x-wing');
  return suiteOf(new XWing());
}

/** The suite of a keyset's entry, to seal with: X25519 of the platform where it has it, which is much quicker. */
export async function senderSuite(key: HpkeKey): Promise<CipherSuite> {
  if (isSuite(key, HYBRID_SUITE)) return hybridSuite();
  if (!isSuite(key, HPKE_SUITE)) throw new Refusal('UNSUPPORTED', 'the HPKE key is of no suite known here');
  const platform = suiteOf(new PlatformX25519());
  try {
    await platform.kem.deserializePublicKey(key.publicKey);
    return platform;
  } catch {
    return hpkeSuite();
  }
}

/** Sending on the library and WebCrypto. All suites derive the keys of a response in the same way. */
export const librarySender: HpkeSender = {
  send: async (key, info) => {
    const suite = await senderSuite(key);
    const recipientPublicKey = await suite.kem.deserializePublicKey(key.publicKey);
    const context = await suite.createSenderContext({ recipientPublicKey, info });
    return {
      enc: new Uint8Array(context.enc),
      seal: async (plaintext) => new Uint8Array(await context.seal(plaintext)),
      export: async (label, length) => new Uint8Array(await context.export(label, length)),
    };
  },
  responseKeys: (salt, secret) => libraryRuntime(hpkeSuite()).responseKeys(salt, secret),
};

export function suiteOf(kem: KemInterface): CipherSuite {
  return new CipherSuite({ kem, kdf: new HmacHkdf(portableCrypto), aead: new Aes256Gcm() });
}
