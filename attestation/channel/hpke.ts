import { Aes256Gcm, CipherSuite, HkdfSha256, type RecipientContext, type SenderContext } from '@hpke/core';
import { DhkemX25519HkdfSha256 } from '@hpke/dhkem-x25519';
import { concat, utf8 } from '../bytes/bytes.ts';
import { ByteReader } from '../bytes/reader.ts';
import { Refusal } from '../errors.ts';

/**
 * Encrypted bodies as EHBP frames them: HPKE base mode with X25519, HKDF-SHA256 and AES-256-GCM, `enc` in the header
 * `Ehbp-Encapsulated-Key`, frames of a 4-byte big-endian length and ciphertext. Ours add one flag byte inside each
 * frame, so that a cut is seen.
 */
export const ENCAPSULATED_KEY_HEADER = 'ehbp-encapsulated-key';
export const RESPONSE_NONCE_HEADER = 'ehbp-response-nonce';
export const SEALED_CONTENT_TYPE = 'application/vouchsafe-sealed';

const REQUEST_INFO = utf8('ehbp request');
const EXPORT_LABEL = utf8('ehbp response');
const KEY_BYTES = 32;
const IV_BYTES = 12;
const NONCE_BYTES = 32;
const TAG_BYTES = 16;
/** Largest frame, ciphertext bytes. */
export const MAX_FRAME_BYTES = 64 * 1024 * 1024;

const FLAG = { more: 0, final: 1 } as const;

/** The one suite; also the type of its keys. */
export function hpkeSuite(): CipherSuite {
  return new CipherSuite({
    kem: new DhkemX25519HkdfSha256(),
    kdf: new HkdfSha256(),
    aead: new Aes256Gcm(),
  });
}

export interface SealedBody {
  /** Encapsulated key, 32 bytes. */
  readonly enc: Uint8Array;
  readonly body: Uint8Array;
  /** Opens the response that the server seals to this request. */
  opener(responseNonce: Uint8Array): Promise<FrameOpener>;
}

/** Seals one request body to a public key, which must come from a verified keyset. */
export async function sealRequest(publicKey: Uint8Array, plaintext: Uint8Array): Promise<SealedBody> {
  const suite = hpkeSuite();
  const recipientPublicKey = await suite.kem.deserializePublicKey(publicKey);
  const context = await suite.createSenderContext({ recipientPublicKey, info: REQUEST_INFO });
  const enc = new Uint8Array(context.enc);
  const ciphertext = new Uint8Array(await context.seal(plaintext));
  return {
    enc,
    body: frame(ciphertext),
    opener: async (responseNonce) => new FrameOpener(await responseKeys(context, enc, responseNonce)),
  };
}

export interface OpenedRequest {
  readonly plaintext: Uint8Array;
  /** Seals the response under a fresh nonce of 32 bytes. */
  sealer(responseNonce: Uint8Array): Promise<FrameSealer>;
}

/** Opens one request body of one frame; refuses as `MALFORMED` what does not decrypt. */
export async function openRequest(
  privateKey: CryptoKey,
  enc: Uint8Array,
  body: Uint8Array,
): Promise<OpenedRequest> {
  const reader = new ByteReader(body, 'sealed request');
  const ciphertext = reader.take(reader.u32be());
  reader.end();
  try {
    const context = await hpkeSuite().createRecipientContext({
      recipientKey: privateKey,
      enc: enc,
      info: REQUEST_INFO,
    });
    const plaintext = new Uint8Array(await context.open(ciphertext));
    return {
      plaintext,
      sealer: async (responseNonce) => new FrameSealer(await responseKeys(context, enc, responseNonce)),
    };
  } catch {
    throw new Refusal('MALFORMED', 'the sealed request does not open under this keyset');
  }
}

interface ResponseKeys {
  readonly key: CryptoKey;
  readonly iv: Uint8Array;
}

/** Key derivation of EHBP, which follows RFC 9458 section 4.4. */
async function responseKeys(
  context: SenderContext | RecipientContext,
  enc: Uint8Array,
  nonce: Uint8Array,
): Promise<ResponseKeys> {
  if (nonce.length !== NONCE_BYTES) throw new Refusal('MALFORMED', 'response nonce is not 32 bytes');
  const secret = await context.export(EXPORT_LABEL, KEY_BYTES);
  const ikm = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
  const salt = concat(enc, nonce) as Uint8Array<ArrayBuffer>;
  const derive = (info: string, bytes: number) =>
    crypto.subtle.deriveBits(
      { name: 'HKDF', hash: 'SHA-256', salt, info: utf8(info) as Uint8Array<ArrayBuffer> },
      ikm,
      bytes * 8,
    );
  const raw = await derive('key', KEY_BYTES);
  const key = await crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt']);
  return { key, iv: new Uint8Array(await derive('nonce', IV_BYTES)) };
}

/** Nonce of frame `i`: the iv XOR the counter in its last 4 bytes. */
function frameNonce(iv: Uint8Array, counter: number): Uint8Array<ArrayBuffer> {
  const nonce = new Uint8Array(iv);
  const view = new DataView(nonce.buffer);
  view.setUint32(IV_BYTES - 4, view.getUint32(IV_BYTES - 4) ^ counter);
  return nonce;
}

function frame(ciphertext: Uint8Array): Uint8Array {
  const head = new Uint8Array(4);
  new DataView(head.buffer).setUint32(0, ciphertext.length);
  return concat(head, ciphertext);
}

/** Seals the frames of one response, in order. */
export class FrameSealer {
  readonly #keys: ResponseKeys;
  #counter = 0;

  constructor(keys: ResponseKeys) {
    this.#keys = keys;
  }

  async seal(content: Uint8Array, final: boolean): Promise<Uint8Array> {
    const iv = frameNonce(this.#keys.iv, this.#counter++);
    const plaintext = concat(Uint8Array.of(final ? FLAG.final : FLAG.more), content);
    const ciphertext = await crypto.subtle.encrypt(
      { name: 'AES-GCM', iv },
      this.#keys.key,
      plaintext as Uint8Array<ArrayBuffer>,
    );
    return frame(new Uint8Array(ciphertext));
  }
}

/** Opens the frames of one response, in order. */
export class FrameOpener {
  readonly #keys: ResponseKeys;
  #counter = 0;
  #ended = false;

  constructor(keys: ResponseKeys) {
    this.#keys = keys;
  }

  /** True once the final frame was opened: before that, the response may be cut. */
  get ended(): boolean {
    return this.#ended;
  }

  async open(ciphertext: Uint8Array): Promise<Uint8Array> {
    if (this.#ended) throw new Refusal('MALFORMED', 'a sealed frame follows the final one');
    if (ciphertext.length < TAG_BYTES + 1) throw new Refusal('MALFORMED', 'a sealed frame is too short');
    const iv = frameNonce(this.#keys.iv, this.#counter++);
    const plaintext = await this.#decrypt(iv, ciphertext);
    const flag = plaintext[0];
    if (flag !== FLAG.more && flag !== FLAG.final)
      throw new Refusal('MALFORMED', 'a sealed frame has no flag');
    this.#ended = flag === FLAG.final;
    return plaintext.subarray(1);
  }

  async #decrypt(iv: Uint8Array<ArrayBuffer>, ciphertext: Uint8Array): Promise<Uint8Array> {
    try {
      const source = ciphertext as Uint8Array<ArrayBuffer>;
      return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, this.#keys.key, source));
    } catch {
      throw new Refusal('SIGNATURE_INVALID', 'a sealed frame was altered, moved or dropped');
    }
  }
}

/** All frames of a whole response body, in order; the last must be final. */
export async function openAll(opener: FrameOpener, body: Uint8Array): Promise<readonly Uint8Array[]> {
  const reader = new ByteReader(body, 'sealed response');
  const contents: Uint8Array[] = [];
  while (reader.remaining > 0) {
    const length = reader.u32be();
    if (length > MAX_FRAME_BYTES) throw new Refusal('MALFORMED', 'a sealed frame is too large');
    contents.push(await opener.open(reader.take(length)));
  }
  if (!opener.ended) throw new Refusal('MALFORMED', 'the sealed response is cut short');
  return contents;
}
