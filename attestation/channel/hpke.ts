import { concat, utf8 } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import type { HpkeKey } from '../keyset.ts';
import { frame, joinContents, padFrame, parseFrames, unpadFrame, type FrameContent } from './frames.ts';
import {
  IV_BYTES,
  libraryRuntime,
  type HpkeRuntime,
  type HpkeSender,
  type Receiving,
  type ResponseKeys,
} from './runtime.ts';
import { hpkeSuite, librarySender } from './suites.ts';

/**
 * Encrypted bodies under HPKE base mode (RFC 9180): `enc` in the header `Ehbp-Encapsulated-Key`, frames of a 4-byte
 * big-endian length and ciphertext. What is sealed in our profile is padded and says where it ends (`frames.ts`); plain
 * EHBP (`ehbp.ts`) has the same frames without either.
 */
export const ENCAPSULATED_KEY_HEADER = 'ehbp-encapsulated-key';
export const RESPONSE_NONCE_HEADER = 'ehbp-response-nonce';
export const SEALED_CONTENT_TYPE = 'application/vouchsafe-sealed';
export { MAX_FRAME_BYTES } from './frames.ts';
export { hpkeSuite } from './suites.ts';

/** Names of one form of encrypted body, in HPKE and in its exporter. */
export interface Purpose {
  readonly info: Uint8Array;
  readonly exporter: Uint8Array;
}

/** Not those of EHBP: a carrier that relabels a body has one that does not open. */
const PROFILE: Purpose = {
  info: utf8('vouchsafe sealed request'),
  exporter: utf8('vouchsafe sealed response'),
};

const SECRET_BYTES = 32;
const NONCE_BYTES = 32;
/** Frames of one response: beyond it a nonce would come again. */
const MAX_COUNTER = 2 ** 32;

export interface SealedBody {
  /** Encapsulated key, of 32 bytes or 1,120: its length tells the suite. */
  readonly enc: Uint8Array;
  readonly body: Uint8Array;
  /** Opens the response that the server seals to this request. */
  opener(responseNonce: Uint8Array): Promise<FrameOpener>;
}

/** Seals one request body, as one padded frame, to an entry of a verified keyset. */
export async function sealRequest(
  key: HpkeKey,
  plaintext: Uint8Array,
  sender?: HpkeSender,
): Promise<SealedBody> {
  return (await prepareSeal(key, sender))(plaintext);
}

/**
 * Agrees on the keys of one request before it is there, to an entry of a verified keyset: most of the work of sealing.
 * What is given seals one body and no second: another one has keys of its own.
 */
export async function prepareSeal(
  key: HpkeKey,
  sender: HpkeSender = librarySender,
): Promise<(plaintext: Uint8Array) => Promise<SealedBody>> {
  const context = await sender.send(key, PROFILE.info);
  const { enc } = context;
  const secret = await context.export(PROFILE.exporter, SECRET_BYTES);
  let isUsed = false;
  return async (plaintext) => {
    if (isUsed) throw new TypeError('one agreement on keys seals one request');
    isUsed = true;
    const ciphertext = await context.seal(padFrame({ content: plaintext, final: true }));
    return {
      enc,
      body: frame(ciphertext),
      opener: async (responseNonce) =>
        new FrameOpener(await sender.responseKeys(saltOf(enc, responseNonce), secret)),
    };
  };
}

export interface OpenedRequest {
  readonly plaintext: Uint8Array;
  /** Seals the response under a fresh nonce of 32 bytes. */
  sealer(responseNonce: Uint8Array): Promise<FrameSealer>;
}

/** Opens one request body; refuses as `MALFORMED` what does not decrypt, is cut, or is padded otherwise. */
export async function openRequest(
  privateKey: CryptoKey,
  enc: Uint8Array,
  body: Uint8Array,
  runtime: HpkeRuntime = libraryRuntime(hpkeSuite()),
): Promise<OpenedRequest> {
  const { frames, keys } = await openFrames(runtime, PROFILE, { privateKey, enc, body });
  return {
    plaintext: joinContents(frames.map(unpadFrame)),
    sealer: async (responseNonce) => new FrameSealer(await keys(responseNonce)),
  };
}

export interface EncryptedBody {
  readonly privateKey: CryptoKey;
  readonly enc: Uint8Array;
  readonly body: Uint8Array;
}

export interface OpenedFrames {
  readonly frames: readonly Uint8Array[];
  readonly keys: (responseNonce: Uint8Array) => Promise<ResponseKeys>;
}

/** Opens the frames of a request in order. One that was altered, moved or dropped leaves the next ones shut, too. */
export async function openFrames(
  runtime: HpkeRuntime,
  { info, exporter }: Purpose,
  { privateKey, enc, body }: EncryptedBody,
): Promise<OpenedFrames> {
  const ciphertexts = parseFrames(body);
  let context: Receiving;
  const frames: Uint8Array[] = [];
  try {
    context = await runtime.receive(privateKey, enc, info);
    for (const ciphertext of ciphertexts) frames.push(await context.open(ciphertext));
  } catch {
    throw new Refusal('MALFORMED', 'the sealed request does not open under this keyset');
  }
  return {
    frames,
    keys: async (nonce) =>
      runtime.responseKeys(saltOf(enc, nonce), await context.export(exporter, SECRET_BYTES)),
  };
}

/** Salt of the response's keys (EHBP section 4.4.1, RFC 9458 section 4.4). */
function saltOf(enc: Uint8Array, nonce: Uint8Array): Uint8Array {
  if (nonce.length !== NONCE_BYTES) throw new Refusal('MALFORMED', 'response nonce is not 32 bytes');
  return concat(enc, nonce);
}

/** Encrypts frames of a response in order, each under the iv XOR its number. */
export class FrameCipher {
  readonly #keys: ResponseKeys;
  #counter = 0;

  constructor(keys: ResponseKeys) {
    this.#keys = keys;
  }

  async seal(plaintext: Uint8Array): Promise<Uint8Array> {
    return this.#keys.seal(this.#nonce(), plaintext);
  }

  /** Refuses as `SIGNATURE_INVALID` what is not the next frame. */
  async open(ciphertext: Uint8Array): Promise<Uint8Array> {
    const nonce = this.#nonce();
    try {
      return await this.#keys.open(nonce, ciphertext);
    } catch {
      throw new Refusal('SIGNATURE_INVALID', 'a sealed frame was altered, moved or dropped');
    }
  }

  #nonce(): Uint8Array<ArrayBuffer> {
    if (this.#counter >= MAX_COUNTER) throw new Refusal('MALFORMED', 'a sealed response has too many frames');
    const nonce = new Uint8Array(this.#keys.iv);
    const view = new DataView(nonce.buffer);
    view.setUint32(IV_BYTES - 4, view.getUint32(IV_BYTES - 4) ^ this.#counter++);
    return nonce;
  }
}

/** Seals the frames of one response, in order. */
export class FrameSealer {
  readonly #cipher: FrameCipher;

  constructor(keys: ResponseKeys) {
    this.#cipher = new FrameCipher(keys);
  }

  async seal(content: Uint8Array, final: boolean): Promise<Uint8Array> {
    return frame(await this.#cipher.seal(padFrame({ content, final })));
  }
}

/** Opens the frames of one response, in order. */
export class FrameOpener {
  readonly #cipher: FrameCipher;
  #ended = false;

  constructor(keys: ResponseKeys) {
    this.#cipher = new FrameCipher(keys);
  }

  /** True once the final frame was opened: before that, the response may be cut. */
  get ended(): boolean {
    return this.#ended;
  }

  async open(ciphertext: Uint8Array): Promise<Uint8Array> {
    if (this.#ended) throw new Refusal('MALFORMED', 'a sealed frame follows the final one');
    const { content, final }: FrameContent = unpadFrame(await this.#cipher.open(ciphertext));
    this.#ended = final;
    return content;
  }
}

/** All frames of a whole response body, in order; the last must be final. */
export async function openAll(opener: FrameOpener, body: Uint8Array): Promise<readonly Uint8Array[]> {
  const contents: Uint8Array[] = [];
  for (const ciphertext of parseFrames(body, Infinity)) contents.push(await opener.open(ciphertext));
  if (!opener.ended) throw new Refusal('MALFORMED', 'the sealed response is cut short');
  return contents;
}
