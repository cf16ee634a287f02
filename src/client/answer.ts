import { concat, toHex } from '../../attestation/bytes/bytes.ts';
import { ClientError } from './errors.ts';
import { dataOf, EventSplitter } from './events.ts';
import type { SealedResponse } from './sealedResponse.ts';

/** A whole answer, with what it takes to verify it later. Whoever must prove content archives content and `k`. */
export interface Answer {
  /** HTTP status; inside the seal, where there is one. */
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
  /** Value bytes of each `data` event of a stream, `[DONE]` included; undefined for a body. */
  readonly chunks: readonly Uint8Array[] | undefined;
  /** 32 lower-case hex digits; undefined where no receipt was issued. */
  readonly receiptId: string | undefined;
  /** Commitment key, 32 bytes. */
  readonly k: Uint8Array | undefined;
  /** Nonce of the request: the receipt repeats it. */
  readonly nonce: Uint8Array;
  /** Body of the request before sealing. */
  readonly request: Uint8Array;
}

export function isEventStream(contentType: string): boolean {
  return contentType.split(';')[0]?.trim().toLowerCase() === 'text/event-stream';
}

/**
 * An answer that is still coming. Iterating gives the chunks of an event stream and nothing for any other body; it
 * throws where the sealed response is cut or altered.
 */
export class AnswerStream implements AsyncIterable<Uint8Array> {
  readonly status: number;
  readonly contentType: string;
  readonly #response: SealedResponse;
  readonly #nonce: Uint8Array;
  readonly #request: Uint8Array;
  readonly #body: Uint8Array[] = [];
  readonly #chunks: Uint8Array[] = [];
  readonly #reading: AsyncGenerator<Uint8Array>;
  #ended = false;

  constructor(response: SealedResponse, nonce: Uint8Array, request: Uint8Array) {
    this.status = response.head.status;
    this.contentType = response.head.contentType;
    this.#response = response;
    this.#nonce = nonce;
    this.#request = request;
    this.#reading = this.#read();
  }

  /** All iterations share one reading: leaving a loop loses nothing, and `finish` reads on. */
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.#reading.next() };
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    const splitter = isEventStream(this.contentType) ? new EventSplitter() : undefined;
    for await (const content of this.#response.content) {
      this.#body.push(content);
      const chunks = splitter ? dataOf(splitter.push(content)) : [];
      this.#chunks.push(...chunks);
      yield* chunks;
    }
    this.#ended = true;
  }

  /** Reads what is left and gives the whole answer. */
  async finish(): Promise<Answer> {
    while ((await this.#reading.next()).done !== true);
    if (!this.#ended) throw new ClientError('RESPONSE_REFUSED', 'the response did not come to its end');
    const { receipt } = this.#response.head;
    return {
      status: this.status,
      contentType: this.contentType,
      body: concat(...this.#body),
      chunks: isEventStream(this.contentType) ? this.#chunks : undefined,
      receiptId: receipt && toHex(receipt.id),
      k: receipt?.k,
      nonce: this.#nonce,
      request: this.#request,
    };
  }
}
