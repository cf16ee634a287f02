import type { AeadEncryptionContext, CipherSuite, RecipientContext, SenderContext } from '@hpke/core';
import { concat, utf8 } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import type { GatewayKey } from './keyConfig.ts';
import { aeadOf, KEM_X25519, NONCE_BYTES, suiteOf, type Symmetric, X25519_BYTES } from './suite.ts';

/** What whole (RFC 9458) and chunked messages have in common: header, HPKE contexts, keys of the response. */
export type Form = 'whole' | 'chunked';

const INFO = { whole: 'message/bhttp request', chunked: 'message/bhttp chunked request' } as const;
const EXPORT = { whole: 'message/bhttp response', chunked: 'message/bhttp chunked response' } as const;
/** Key id, KEM, KDF and AEAD. */
const HEADER_BYTES = 7;
const NOTHING = new Uint8Array(0);
/** Associated data of the last chunk (draft-ietf-ohai-chunked-ohttp-08 section 6). */
const FINAL = utf8('final');
/** Most chunks of a response: the counter goes into the last 4 bytes of the nonce. */
const MAX_COUNTER = 0xffffffff;

/** The part of a request that is not sealed. */
export interface RequestHeader {
  readonly keyId: number;
  readonly symmetric: Symmetric;
  /** Encapsulated key, 32 bytes: whoever sends it again sends the same request again. */
  readonly enc: Uint8Array;
  /** What is sealed. */
  readonly sealed: Uint8Array;
}

/** Parses the header of an encapsulated request; refuses as `UNSUPPORTED` what is sealed in another way. */
export function parseRequestHeader(body: Uint8Array): RequestHeader {
  const reader = new ByteReader(body, 'encapsulated request');
  const keyId = reader.u8();
  const kem = reader.u16be();
  const symmetric = { kdf: reader.u16be(), aead: reader.u16be() };
  if (kem !== KEM_X25519) throw new Refusal('UNSUPPORTED', `HPKE with KEM ${kem} is not known`);
  aeadOf(symmetric);
  const enc = reader.take(X25519_BYTES);
  return { keyId, symmetric, enc, sealed: reader.take(reader.remaining) };
}

function encodeHeader({ id, symmetric: { kdf, aead } }: GatewayKey): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint8(0, id);
  view.setUint16(1, KEM_X25519);
  view.setUint16(3, kdf);
  view.setUint16(5, aead);
  return header;
}

function infoOf(form: Form, header: Uint8Array): Uint8Array {
  return concat(utf8(INFO[form]), Uint8Array.of(0), header);
}

/** Length of a response nonce: the longer of nonce and key of the AEAD, 16 or 32 bytes. */
export function responseNonceBytes(symmetric: Symmetric): number {
  return Math.max(NONCE_BYTES, aeadOf(symmetric).keySize);
}

/** Seals one request and opens what answers it. */
export interface Sender {
  /** Header and encapsulated key: the beginning of the message. */
  readonly head: Uint8Array;
  seal(content: Uint8Array, final: boolean): Promise<Uint8Array>;
  /** What the response is sealed with. */
  response(nonce: Uint8Array): Promise<ResponseChunks>;
  readonly nonceBytes: number;
}

/** Opens one request and seals what answers it. */
export interface Recipient {
  open(sealed: Uint8Array, final: boolean): Promise<Uint8Array>;
  response(nonce: Uint8Array): Promise<ResponseChunks>;
  readonly nonceBytes: number;
}

/**
 * Begins a request to a key, which must come from a verified keyset. `ephemeral` is drawn anew for each request; known
 * answers alone give one.
 */
export async function beginRequest(form: Form, key: GatewayKey, ephemeral?: CryptoKeyPair): Promise<Sender> {
  const suite = suiteOf(key.symmetric);
  const header = encodeHeader(key);
  const recipientPublicKey = await suite.kem.deserializePublicKey(key.publicKey);
  const info = infoOf(form, header);
  const params = { recipientPublicKey, info, ...(ephemeral && { ekm: ephemeral }) };
  const context = await suite.createSenderContext(params);
  const enc = new Uint8Array(context.enc);
  return {
    head: concat(header, enc),
    seal: async (content, final) => new Uint8Array(await context.seal(content, associated(form, final))),
    response: (nonce) => responseChunks(form, suite, context, enc, nonce),
    nonceBytes: responseNonceBytes(key.symmetric),
  };
}

/**
 * Sets out to open a request. What does not open is refused as `SIGNATURE_INVALID`. `suite` computes it: X25519 and what
 * the header says.
 */
export async function receiveRequest(
  form: Form,
  privateKey: CryptoKey,
  { keyId, symmetric, enc }: RequestHeader,
  suite: CipherSuite = suiteOf(symmetric),
): Promise<Recipient> {
  const header = encodeHeader({ id: keyId, publicKey: enc, symmetric });
  const context = await opening(() =>
    suite.createRecipientContext({ recipientKey: privateKey, enc, info: infoOf(form, header) }),
  );
  return {
    open: async (sealed, final) =>
      new Uint8Array(await opening(() => context.open(sealed, associated(form, final)))),
    response: (nonce) => responseChunks(form, suite, context, enc, nonce),
    nonceBytes: responseNonceBytes(symmetric),
  };
}

function associated(form: Form, final: boolean): Uint8Array {
  return form === 'chunked' && final ? FINAL : NOTHING;
}

async function opening<T>(open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch {
    throw new Refusal(
      'SIGNATURE_INVALID',
      'what is sealed does not open: it is of another key, or was altered',
    );
  }
}

/** Section 4.4 of RFC 9458; the draft has the same under another label. */
async function responseChunks(
  form: Form,
  { aead, kdf }: CipherSuite,
  context: SenderContext | RecipientContext,
  enc: Uint8Array,
  nonce: Uint8Array,
): Promise<ResponseChunks> {
  const length = Math.max(NONCE_BYTES, aead.keySize);
  if (nonce.length !== length) throw new Refusal('MALFORMED', `the response nonce is not of ${length} bytes`);
  const secret = await context.export(utf8(EXPORT[form]), length);
  const prk = await kdf.extract(concat(enc, nonce), secret);
  const key = aead.createEncryptionContext(await kdf.expand(prk, utf8('key'), aead.keySize));
  const iv = new Uint8Array(await kdf.expand(prk, utf8('nonce'), NONCE_BYTES));
  return new ResponseChunks(form, key, iv);
}

/** The chunks of one response in their order; a whole response is one, and the last. One instance seals or opens. */
export class ResponseChunks {
  readonly #form: Form;
  readonly #key: AeadEncryptionContext;
  readonly #iv: Uint8Array;
  #counter = 0;

  constructor(form: Form, key: AeadEncryptionContext, iv: Uint8Array) {
    this.#form = form;
    this.#key = key;
    this.#iv = iv;
  }

  async seal(content: Uint8Array, final: boolean): Promise<Uint8Array> {
    return new Uint8Array(await this.#key.seal(this.#nonce(), content, associated(this.#form, final)));
  }

  /** Refuses as `SIGNATURE_INVALID` what is of another response, of another place in this one, or altered. */
  async open(sealed: Uint8Array, final: boolean): Promise<Uint8Array> {
    const nonce = this.#nonce();
    return new Uint8Array(await opening(() => this.#key.open(nonce, sealed, associated(this.#form, final))));
  }

  /** The iv XOR the number of the chunk. */
  #nonce(): Uint8Array {
    if (this.#counter > MAX_COUNTER) throw new RangeError('a response has at most 2^32 chunks');
    const nonce = new Uint8Array(this.#iv);
    const view = new DataView(nonce.buffer);
    view.setUint32(NONCE_BYTES - 4, view.getUint32(NONCE_BYTES - 4) ^ this.#counter++);
    return nonce;
  }
}
