import { utf8 } from '../../attestation/bytes/bytes.ts';
import { ChunkHasher } from '../receipts/chunks.ts';
import type { ResponseContent } from '../receipts/draft.ts';
import type { ServiceError } from './errors.ts';
import type { ReceiptNotice, Reply } from './reply.ts';

export const EVENT_STREAM = 'text/event-stream';

/** One event: the text that the receipt commits to, and its name where the API names its events. */
export interface Chunk {
  /** Without line breaks. */
  readonly text: string;
  readonly event?: string;
}

/** Also the `type` in its data: clients of APIs that name their events tell events apart by it. */
const RECEIPT_EVENT = 'vouchsafe.receipt';
const DONE: Chunk = { text: '[DONE]' };

/**
 * Server-sent events of one answer (DESIGN section 5): first a comment with the commitment key, then the chunks that
 * the receipt commits to, the last of them once the receipt is durable, then the receipt. Clients of OpenAI's API skip
 * comments and stop listening at `[DONE]`.
 */
export class EventStream {
  readonly #reply: Reply;
  readonly #receipt: (() => ReceiptNotice) | undefined;
  readonly #hasher: ChunkHasher | undefined;
  #kept: Uint8Array[] | undefined;
  #begun = false;
  #last = DONE;
  #failure: ((error: ServiceError) => Chunk) | undefined;

  /** `receipt` is asked once, at the first event; undefined where no receipts are issued. */
  constructor(reply: Reply, id: Uint8Array, k: Uint8Array, receipt: (() => ReceiptNotice) | undefined) {
    this.#reply = reply;
    this.#receipt = receipt;
    this.#hasher = receipt && new ChunkHasher(k, id);
  }

  /** Keeps the chunks from now on, for an archive of content. */
  keepChunks(): void {
    this.#kept ??= [];
  }

  /** What was committed to, where it is kept. */
  get chunks(): readonly Uint8Array[] {
    return this.#kept ?? [];
  }

  /** True once something was sent: the status can no longer change. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Sends one chunk: text without line breaks, and the name of its event where it has one. */
  data(text: string, event?: string): void {
    this.#commit(text);
    this.#write({ text, ...(event !== undefined && { event }) });
  }

  /** The API ends its streams with this chunk, not with `[DONE]`. */
  endWith(last: Chunk): void {
    this.#last = last;
  }

  /** The API has a form of its own for what fails after the beginning. */
  failWith(write: (error: ServiceError) => Chunk): void {
    this.#failure = write;
  }

  /** How the API says that the answer failed; undefined where it says it as it does outside of streams. */
  failure(error: ServiceError): Chunk | undefined {
    return this.#failure?.(error);
  }

  /** Commits to the last chunk, which `done` sends once the receipt is durable: without it a stream is not whole. */
  commitDone(): void {
    this.#commit(this.#last.text);
  }

  done(): void {
    this.#write(this.#last);
  }

  /** What the receipt says of the chunks so far. */
  content(): ResponseContent | undefined {
    return this.#hasher?.finish();
  }

  receipt(id: Uint8Array, encoded: Uint8Array): void {
    const value = {
      type: RECEIPT_EVENT,
      id: Buffer.from(id).toString('hex'),
      receipt: Buffer.from(encoded).toString('base64url'),
    };
    this.#write({ text: JSON.stringify(value), event: RECEIPT_EVENT });
  }

  /** Something that no receipt covers: the receipt itself could not be issued. */
  unvouched(chunk: Chunk): void {
    this.#write(chunk);
  }

  end(): void | Promise<void> {
    return this.#reply.end();
  }

  #write({ text, event }: Chunk): void {
    const name = event === undefined ? '' : `event: ${event}\n`;
    this.#reply.write(utf8(`${name}data: ${text}\n\n`));
  }

  #commit(text: string): void {
    if (!this.#begun) this.#begin();
    const chunk = utf8(text);
    this.#hasher?.add(chunk);
    this.#kept?.push(chunk);
  }

  #begin(): void {
    this.#begun = true;
    const receipt = this.#receipt?.();
    this.#reply.begin({ status: 200, contentType: EVENT_STREAM, receipt });
    if (!receipt) return;
    const key = Buffer.from(receipt.k).toString('base64url');
    this.#reply.write(utf8(`: vouchsafe-commitment-key ${key}\n\n`));
  }
}
