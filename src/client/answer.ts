import { concat, fromBase64Url, fromUtf8, toHex } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { EvidenceDocument } from '../../attestation/evidence/document.ts';
import { ClientError } from './errors.ts';
import { EventSplitter, RECEIPT_EVENT, type ServerEvent } from './events.ts';
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
  /** The receipt, where it came with the answer; as issued, not judged. */
  readonly receipt: Uint8Array | undefined;
  /** The accepted evidence to whose keys the request was sealed. */
  readonly evidence: EvidenceDocument;
}

/** What is known of an answer before it comes. */
export type Asked = Pick<Answer, 'nonce' | 'request' | 'evidence'>;

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
  /** 32 lower-case hex digits; undefined where no receipt was issued. */
  readonly receiptId: string | undefined;
  readonly #response: SealedResponse;
  readonly #asked: Asked;
  readonly #body: Uint8Array[] = [];
  readonly #chunks: Uint8Array[] = [];
  readonly #reading: AsyncGenerator<ServerEvent, undefined>;
  #receipt: Uint8Array | undefined;
  #ended = false;

  constructor(response: SealedResponse, asked: Asked) {
    const { status, contentType, receipt } = response.head;
    this.status = status;
    this.contentType = contentType;
    this.receiptId = receipt && toHex(receipt.id);
    this.#response = response;
    this.#asked = asked;
    this.#reading = this.#read();
  }

  /** All iterations share one reading: leaving a loop loses nothing, and `finish` reads on. */
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, undefined> {
    return {
      next: async () => {
        const event = await this.nextEvent();
        return event ? { done: false, value: event.data } : { done: true, value: undefined };
      },
    };
  }

  /** The next event that the receipt commits to; undefined at the end. */
  async nextEvent(): Promise<ServerEvent | undefined> {
    const { done, value } = await this.#reading.next();
    return done === true ? undefined : value;
  }

  async *#read(): AsyncGenerator<ServerEvent, undefined> {
    const splitter = isEventStream(this.contentType) ? new EventSplitter() : undefined;
    for await (const content of this.#response.content) {
      this.#body.push(content);
      for (const event of splitter?.push(content) ?? []) {
        if (event.type === RECEIPT_EVENT) this.#receipt = receiptOf(event.data);
        else {
          this.#chunks.push(event.data);
          yield event;
        }
      }
    }
    this.#ended = true;
    return undefined;
  }

  /** Reads what is left and gives the whole answer. */
  async finish(): Promise<Answer> {
    while (await this.nextEvent());
    if (!this.#ended) throw new ClientError('RESPONSE_REFUSED', 'the response did not come to its end');
    const { receipt } = this.#response.head;
    return {
      status: this.status,
      contentType: this.contentType,
      body: concat(...this.#body),
      chunks: isEventStream(this.contentType) ? this.#chunks : undefined,
      receiptId: this.receiptId,
      k: receipt?.k,
      receipt: this.#receipt ?? receipt?.encoded,
      ...this.#asked,
    };
  }

  /** Wants no more of it: what is still on its way is not read. */
  async cancel(): Promise<void> {
    const { cancel, content } = this.#response;
    await (cancel ? cancel() : content.return(undefined));
  }
}

/** The receipt in the event that follows a stream; undefined where it cannot be read, for it can be asked for. */
function receiptOf(data: Uint8Array): Uint8Array | undefined {
  try {
    const { receipt } = JSON.parse(fromUtf8(data)) as { readonly receipt?: unknown };
    return typeof receipt === 'string' ? fromBase64Url(receipt) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof Refusal || error instanceof TypeError)
      return undefined;
    throw error;
  }
}
