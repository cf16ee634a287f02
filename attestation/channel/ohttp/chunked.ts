import type { CipherSuite } from '@hpke/core';
import { concat } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import {
  beginRequest,
  receiveRequest,
  type Recipient,
  type RequestHeader,
  type ResponseChunks,
  type Sender,
} from './exchange.ts';
import { Inbox, type Waiting } from './inbox.ts';
import type { GatewayKey } from './keyConfig.ts';
import { TAG_BYTES } from './suite.ts';
import { encodeVarint } from './varint.ts';
import type { OpenedRequest, SealedWhole } from './whole.ts';

/**
 * Chunked Oblivious HTTP (draft-ietf-ohai-chunked-ohttp-08): each chunk has its length before it; the last has 0 there,
 * reaches to the end of the body, and says inside the seal that it is the last.
 */
export const CHUNKED_REQUEST_TYPE = 'message/ohttp-chunked-req';
export const CHUNKED_RESPONSE_TYPE = 'message/ohttp-chunked-res';
/** What every receiver must take in one chunk, bytes before sealing (section 3): nothing here sends more. */
export const CHUNK_BYTES = 16_384;
/** Largest sealed chunk that is taken. */
const MAX_SEALED_BYTES = 1024 * 1024;
/** Most chunks of one request: each costs the gateway an operation before it knows who asks. */
const MAX_REQUEST_CHUNKS = 4096;
const NOTHING = new Uint8Array(0);

/** Contents of the chunks for some bytes; at least one, which may be empty. */
function* pieces(content: Uint8Array): Generator<{ readonly piece: Uint8Array; readonly isLast: boolean }> {
  let start = 0;
  for (; content.length - start > CHUNK_BYTES; start += CHUNK_BYTES) {
    yield { piece: content.subarray(start, start + CHUNK_BYTES), isLast: false };
  }
  yield { piece: content.subarray(start), isLast: true };
}

/** Encapsulates one binary HTTP request, of any length. */
export async function sealChunked(
  key: GatewayKey,
  request: Uint8Array,
  ephemeral?: CryptoKeyPair,
): Promise<SealedWhole> {
  const sender = await beginRequest('chunked', key, ephemeral);
  const parts = [sender.head];
  for (const { piece, isLast } of pieces(request)) {
    parts.push(frameChunk(await sender.seal(piece, isLast), isLast));
  }
  return { body: concat(...parts), sender };
}

/**
 * Opens a request that has come whole. One whose end is missing, whose chunks are in another order, or are of another
 * request, is refused: nothing of it is given out. `suite` as for `receiveRequest`.
 */
export async function openChunked(
  privateKey: CryptoKey,
  header: RequestHeader,
  suite?: CipherSuite,
): Promise<OpenedRequest> {
  const inbox = new Inbox('chunked request');
  inbox.push(header.sealed);
  inbox.finish();
  const frames: Frame[] = [];
  for (const frame of framesOf(inbox, header.sealed.length)) {
    if (frame) frames.push(frame);
    if (frames.length > MAX_REQUEST_CHUNKS) {
      throw new Refusal('MALFORMED', `a chunked request has more than ${MAX_REQUEST_CHUNKS} chunks`);
    }
  }
  const recipient = await receiveRequest('chunked', privateKey, header, suite);
  const contents: Uint8Array[] = [];
  for (const frame of frames) {
    contents.push(requireContent(await recipient.open(frame.sealed, frame.isLast), frame.isLast));
  }
  return { request: concat(...contents), recipient };
}

/** Seals the chunks of one response, in the order of the calls. The nonce stands before the first one. */
export class ChunkSealer {
  readonly #chunks: ResponseChunks;
  #head: Uint8Array;
  #ended = false;
  #sealing: Promise<unknown> = Promise.resolve();

  private constructor(chunks: ResponseChunks, nonce: Uint8Array) {
    this.#chunks = chunks;
    this.#head = nonce;
  }

  /** `nonce` is fresh, of `recipient.nonceBytes`. */
  static async begin(recipient: Recipient, nonce: Uint8Array): Promise<ChunkSealer> {
    return new ChunkSealer(await recipient.response(nonce), nonce);
  }

  /** The bytes to send for some content: of none, none, unless they are the last. */
  seal(content: Uint8Array, final: boolean): Promise<Uint8Array> {
    const sealed = this.#sealing.then(() => this.#seal(content, final));
    this.#sealing = sealed.catch(() => undefined);
    return sealed;
  }

  async #seal(content: Uint8Array, final: boolean): Promise<Uint8Array> {
    if (this.#ended) throw new Error('the last chunk was sealed already');
    const parts = [this.#head];
    this.#head = NOTHING;
    this.#ended = final;
    if (content.length > 0 || final) {
      for (const { piece, isLast } of pieces(content)) {
        const ends = final && isLast;
        parts.push(frameChunk(await this.#chunks.seal(piece, ends), ends));
      }
    }
    return concat(...parts);
  }
}

/** Opens the chunks of one response while they come. */
export class ChunkOpener {
  readonly #sender: Sender;
  readonly #inbox = new Inbox('chunked response');
  readonly #frames: Generator<Frame | Waiting, void>;
  #chunks: Promise<ResponseChunks> | undefined;
  #ended = false;

  constructor(sender: Sender) {
    this.#sender = sender;
    this.#frames = this.#read();
  }

  /** True once the last chunk was opened: before that, the response may be cut. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The contents of the chunks that these bytes complete. Await each call before the next. */
  async push(bytes: Uint8Array): Promise<readonly Uint8Array[]> {
    this.#inbox.push(bytes);
    return this.#open();
  }

  /** The body is at its end: the content of the last chunk. Refused as `MALFORMED` where it is missing. */
  async finish(): Promise<readonly Uint8Array[]> {
    this.#inbox.finish();
    const contents = await this.#open();
    if (!this.#ended) throw new Refusal('MALFORMED', 'the chunked response is cut short');
    return contents;
  }

  *#read(): Generator<Frame | Waiting, void> {
    const nonce = yield* this.#inbox.take(this.#sender.nonceBytes);
    this.#chunks = this.#sender.response(nonce);
    yield* framesOf(this.#inbox, MAX_SEALED_BYTES);
  }

  async #open(): Promise<readonly Uint8Array[]> {
    const contents: Uint8Array[] = [];
    for (let step = this.#frames.next(); !step.done && step.value; step = this.#frames.next()) {
      const { sealed, isLast } = step.value;
      const chunks = await this.#chunks;
      if (!chunks) throw new Error('a frame came before the nonce');
      contents.push(requireContent(await chunks.open(sealed, isLast), isLast));
      this.#ended = isLast;
    }
    return contents;
  }
}

interface Frame {
  readonly sealed: Uint8Array;
  /** It says so outside the seal; that it does inside, too, is seen when it is opened. */
  readonly isLast: boolean;
}

/** Sealed chunks up to the one that says it is the last, of at most `most` bytes each. */
function* framesOf(inbox: Inbox, most: number): Generator<Frame | Waiting, void> {
  for (;;) {
    const length = yield* inbox.varint();
    if (length === 0) break;
    if (length > most) throw inbox.refusal(`a chunk has more than ${most} bytes`);
    yield { sealed: yield* inbox.take(length), isLast: false };
  }
  const sealed = yield* inbox.takeRest(most);
  if (sealed.length < TAG_BYTES) throw inbox.refusal('its last chunk is too short');
  yield { sealed, isLast: true };
}

/** A chunk without content is an error unless it is the last (section 6). */
function requireContent(content: Uint8Array, isLast: boolean): Uint8Array {
  if (content.length > 0 || isLast) return content;
  throw new Refusal('MALFORMED', 'a chunk before the last has no content');
}

/** A sealed chunk with its length before it; 0 stands before the last. */
export function frameChunk(sealed: Uint8Array, isLast: boolean): Uint8Array {
  return concat(encodeVarint(isLast ? 0 : sealed.length), sealed);
}
