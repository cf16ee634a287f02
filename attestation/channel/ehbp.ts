import { concat, utf8 } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import type { HpkeKey } from '../keyset.ts';
import { frame } from './frames.ts';
import { FrameCipher, openFrames, type EncryptedBody, type Purpose } from './hpke.ts';
import type { HpkeRuntime, ResponseKeys } from './runtime.ts';

/**
 * The Encrypted HTTP Body Protocol as its own clients speak it. Method, path and headers are not bound to the body, no
 * frame says that it is the last, and lengths are not hidden: our profile (`hpke.ts`) is what closes that.
 */
export const EHBP_KEYS_PATH = '/.well-known/hpke-keys';
export const KEY_CONFIG_TYPE = 'application/ohttp-keys';
export const KEY_CONFIG_PROBLEM_TYPE = 'urn:ietf:params:ehbp:error:key-config';

/** EHBP sections 4.4.1 and 4.4. */
export const EHBP: Purpose = { info: utf8('ehbp request'), exporter: utf8('ehbp response') };

/** RFC 9458 section 3.1: key id 0, KEM, public key, and one pair of KDF and AEAD. EHBP serves it bare. */
export function encodeKeyConfig({ kem, kdf, aead, publicKey }: HpkeKey): Uint8Array {
  const head = new DataView(new ArrayBuffer(3));
  head.setUint16(1, kem);
  const suites = new DataView(new ArrayBuffer(6));
  suites.setUint16(0, 4);
  suites.setUint16(2, kdf);
  suites.setUint16(4, aead);
  return concat(new Uint8Array(head.buffer), publicKey, new Uint8Array(suites.buffer));
}

export interface OpenedEhbp {
  readonly plaintext: Uint8Array;
  /** Seals the response under a fresh nonce of 32 bytes. */
  sealer(responseNonce: Uint8Array): Promise<EhbpSealer>;
}

/** Opens one request body of any number of frames; refuses as `MALFORMED` what does not decrypt, or holds none. */
export async function openEhbp(runtime: HpkeRuntime, sealed: EncryptedBody): Promise<OpenedEhbp> {
  const { frames, keys } = await openFrames(runtime, EHBP, sealed);
  if (frames.length === 0) throw new Refusal('MALFORMED', 'the encrypted body has no frame');
  return {
    plaintext: frames.length === 1 && frames[0] ? frames[0] : concat(...frames),
    sealer: async (responseNonce) => new EhbpSealer(await keys(responseNonce)),
  };
}

/** Seals the frames of one response, in order. */
export class EhbpSealer {
  readonly #cipher: FrameCipher;

  constructor(keys: ResponseKeys) {
    this.#cipher = new FrameCipher(keys);
  }

  async seal(content: Uint8Array): Promise<Uint8Array> {
    return frame(await this.#cipher.seal(content));
  }
}
