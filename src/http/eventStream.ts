import { utf8 } from '../../attestation/bytes/bytes.ts';
import { ChunkHasher } from '../receipts/chunks.ts';
import type { ResponseContent } from '../receipts/draft.ts';
import type { ReceiptNotice, Reply } from './reply.ts';

export const EVENT_STREAM = 'text/event-stream';
const DONE = '[DONE]';

/**
 * Server-sent events of one answer (DESIGN section 5): first a comment with the commitment key, then the chunks that
 * the receipt commits to, `[DONE]` among them, last the receipt. Clients of OpenAI's API skip comments and stop
 * listening at `[DONE]`.
 */
export class EventStream {
  readonly #reply: Reply;
  readonly #receipt: (() => ReceiptNotice) | undefined;
  readonly #hasher: ChunkHasher | undefined;
  #begun = false;

  /** `receipt` is asked once, at the first event; undefined where no receipts are issued. */
  constructor(reply: Reply, id: Uint8Array, k: Uint8Array, receipt: (() => ReceiptNotice) | undefined) {
    this.#reply = reply;
    this.#receipt = receipt;
    this.#hasher = receipt && new ChunkHasher(k, id);
  }

  /** True once something was sent: the status can no longer change. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Sends one chunk: text without line breaks. */
  data(text: string): void {
    this.#commit(text);
    this.#reply.write(utf8(`data: ${text}\n\n`));
  }

  /** Commits to `[DONE]`, which `done` sends once the receipt is durable. */
  commitDone(): void {
    this.#commit(DONE);
  }

  done(): void {
    this.#reply.write(utf8(`data: ${DONE}\n\n`));
  }

  /** What the receipt says of the chunks so far. */
  content(): ResponseContent | undefined {
    return this.#hasher?.finish();
  }

  receipt(id: Uint8Array, encoded: Uint8Array): void {
    const value = {
      id: Buffer.from(id).toString('hex'),
      receipt: Buffer.from(encoded).toString('base64url'),
    };
    this.#reply.write(utf8(`event: vouchsafe.receipt\ndata: ${JSON.stringify(value)}\n\n`));
  }

  /** Something that no receipt covers: the receipt itself could not be issued. */
  unvouched(text: string): void {
    this.#reply.write(utf8(`data: ${text}\n\n`));
  }

  end(): void | Promise<void> {
    return this.#reply.end();
  }

  #commit(text: string): void {
    if (!this.#begun) this.#begin();
    this.#hasher?.add(utf8(text));
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
