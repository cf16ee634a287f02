import { fromHex } from '../../attestation/bytes/bytes.ts';
import {
  MAX_FRAME_BYTES,
  RESPONSE_NONCE_HEADER,
  SEALED_CONTENT_TYPE,
  type FrameOpener,
  type SealedBody,
} from '../../attestation/channel/hpke.ts';
import { parseSealedHead, type SealedHead } from '../../attestation/channel/sealed.ts';
import { Refusal } from '../../attestation/errors.ts';
import { ClientError } from './errors.ts';
import { bodyChunks, rejection, type BodyReader, type Incoming } from './http.ts';

/** Largest response, ciphertext bytes: its content is kept so that it can be verified. */
export const MAX_RESPONSE_BYTES = 256 * 1024 * 1024;
const LENGTH_BYTES = 4;

/** An opened response: the head first, then the body as frames come. */
export interface SealedResponse {
  readonly head: SealedHead;
  /** Throws `RESPONSE_REFUSED` where the response was cut, altered or continued after its end. */
  readonly content: AsyncGenerator<Uint8Array>;
  /** Wants no more of it: the service learns that nobody reads on. */
  readonly cancel?: () => Promise<void>;
}

/** Opens the response to one sealed request. What answers another request does not open. */
export async function openResponse(
  sealed: SealedBody,
  response: Incoming,
  signal?: AbortSignal,
): Promise<SealedResponse> {
  const nonce = response.headers.get(RESPONSE_NONCE_HEADER);
  const type = response.headers.get('content-type')?.split(';')[0]?.trim();
  if (response.status !== 200 || nonce === null || type !== SEALED_CONTENT_TYPE)
    throw await unsealed(response);
  return refusing(async () => {
    const opener = await sealed.opener(fromHex(nonce));
    const reader = response.body?.getReader();
    const content = frames(opener, reader, signal);
    const first = await content.next();
    if (first.done) throw new Refusal('MALFORMED', 'the sealed response is empty');
    return { head: parseSealedHead(first.value), content, cancel: async () => reader?.cancel() };
  });
}

/** RFC 9458 calls for a new key configuration; EHBP names it so. */
async function unsealed(response: Incoming): Promise<ClientError> {
  const error = await rejection(response);
  if (response.status === 200) return new ClientError('BAD_ANSWER', 'the response is not sealed');
  if (response.status !== 422) return error;
  return new ClientError('KEYSET_CHANGED', error.message, { status: response.status });
}

async function* frames(
  opener: FrameOpener,
  reader: BodyReader | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const queue = new ByteQueue();
  let received = 0;
  for await (const chunk of bodyChunks(reader, signal)) {
    received += chunk.length;
    if (received > MAX_RESPONSE_BYTES) throw refused('the sealed response is too large');
    queue.push(chunk);
    for (let frame = queue.frame(); frame; frame = queue.frame()) {
      const ciphertext = frame;
      yield await refusing(() => opener.open(ciphertext));
    }
  }
  if (!opener.ended || queue.length > 0) throw refused('the sealed response is cut short');
}

async function refusing<T>(open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof Refusal) throw refused(error.message, error);
    throw error;
  }
}

function refused(message: string, cause?: Refusal): ClientError {
  return new ClientError('RESPONSE_REFUSED', message, { cause });
}

/** Received bytes, from which whole frames are taken: a 4-byte big-endian length and the ciphertext. */
class ByteQueue {
  readonly #chunks: Uint8Array[] = [];
  #length = 0;
  #wanted: number | undefined;

  get length(): number {
    return this.#length + (this.#wanted === undefined ? 0 : LENGTH_BYTES);
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The next whole frame; undefined while it has not arrived. */
  frame(): Uint8Array | undefined {
    if (this.#wanted === undefined) {
      if (this.#length < LENGTH_BYTES) return undefined;
      const head = this.#take(LENGTH_BYTES);
      this.#wanted = new DataView(head.buffer).getUint32(0);
      if (this.#wanted > MAX_FRAME_BYTES) throw refused('a sealed frame is too large');
    }
    if (this.#length < this.#wanted) return undefined;
    const frame = this.#take(this.#wanted);
    this.#wanted = undefined;
    return frame;
  }

  #take(count: number): Uint8Array {
    const taken = new Uint8Array(count);
    for (let filled = 0; filled < count;) {
      const chunk = this.#chunks[0];
      if (!chunk) throw new RangeError('more bytes taken than received');
      const part = chunk.subarray(0, count - filled);
      taken.set(part, filled);
      filled += part.length;
      if (part.length === chunk.length) this.#chunks.shift();
      else this.#chunks[0] = chunk.subarray(part.length);
    }
    this.#length -= count;
    return taken;
  }
}
