import type { CipherSuite } from '@hpke/core';
import { utf8 } from '../bytes/bytes.ts';
import type { HpkeKey } from '../keyset.ts';

/** AES-256-GCM key, and its nonce, bytes. */
export const KEY_BYTES = 32;
export const IV_BYTES = 12;
export const KEY_LABEL = utf8('key');
export const NONCE_LABEL = utf8('nonce');
const NO_AAD = new ArrayBuffer(0);

/** At once where the runtime computes at once. */
type Soon<T> = T | Promise<T>;

/** One HPKE context of a receiver (RFC 9180 section 5.2): what it opens, it opens in order. */
export interface Receiving {
  /** Throws where it is not the next ciphertext of this context. */
  open(ciphertext: Uint8Array): Soon<Uint8Array>;
  export(context: Uint8Array, length: number): Soon<Uint8Array>;
}

/** What the frames of one response are sealed with. */
export interface ResponseKeys {
  /** XOR the number of the frame it is its nonce. */
  readonly iv: Uint8Array;
  seal(nonce: Uint8Array, plaintext: Uint8Array): Soon<Uint8Array>;
  /** Throws where it does not open. */
  open(nonce: Uint8Array, ciphertext: Uint8Array): Soon<Uint8Array>;
}

/**
 * How a runtime computes what receives requests. The library's is the portable one; the service brings one of its own,
 * which is some ten times as quick. The vectors of RFC 9180 and recorded exchanges hold both to the same bytes.
 */
export interface HpkeRuntime {
  /** Base mode. Throws where `enc` is none, or the key of another KEM. */
  receive(privateKey: CryptoKey, enc: Uint8Array, info: Uint8Array): Soon<Receiving>;
  /** RFC 9458 section 4.4 from the exported secret on: extracted with the salt, expanded to `key` and `nonce`. */
  responseKeys(salt: Uint8Array, secret: Uint8Array): Soon<ResponseKeys>;
}

/** One HPKE context of a sender: its ciphertexts are opened in the order in which it sealed them. */
export interface Sending {
  /** Encapsulated key. */
  readonly enc: Uint8Array;
  seal(plaintext: Uint8Array): Soon<Uint8Array>;
  export(context: Uint8Array, length: number): Soon<Uint8Array>;
}

/** How a runtime computes what sends requests; the library's is the portable one (`suites.ts`). */
export interface HpkeSender extends Pick<HpkeRuntime, 'responseKeys'> {
  /** Base mode, to an entry of a verified keyset. Refuses as `UNSUPPORTED` an entry of another suite. */
  send(key: HpkeKey, info: Uint8Array): Soon<Sending>;
}

export function libraryRuntime(suite: CipherSuite): HpkeRuntime {
  return {
    receive: async (recipientKey, enc, info) => {
      const context = await suite.createRecipientContext({ recipientKey, enc, info });
      return {
        open: async (ciphertext) => new Uint8Array(await context.open(ciphertext)),
        export: async (label, length) => new Uint8Array(await context.export(label, length)),
      };
    },
    responseKeys: (salt, secret) => libraryResponseKeys(suite, salt, secret),
  };
}

async function libraryResponseKeys(
  { kdf, aead }: CipherSuite,
  salt: Uint8Array,
  secret: Uint8Array,
): Promise<ResponseKeys> {
  const prk = await kdf.extract(salt, secret);
  const key = aead.createEncryptionContext(await kdf.expand(prk, KEY_LABEL, KEY_BYTES));
  return {
    iv: new Uint8Array(await kdf.expand(prk, NONCE_LABEL, IV_BYTES)),
    seal: async (nonce, plaintext) => new Uint8Array(await key.seal(nonce, plaintext, NO_AAD)),
    open: async (nonce, ciphertext) => new Uint8Array(await key.open(nonce, ciphertext, NO_AAD)),
  };
}
