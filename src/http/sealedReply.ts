import type { OutgoingHttpHeaders } from 'node:http';
import type { EhbpSealer } from '../../attestation/channel/ehbp.ts';
import {
  RESPONSE_NONCE_HEADER,
  SEALED_CONTENT_TYPE,
  type FrameSealer,
} from '../../attestation/channel/hpke.ts';
import { encodeSealedHead } from '../../attestation/channel/sealed.ts';
import type { Outgoing } from './outgoing.ts';
import { openHeadersOf, openReceiptHeaders, type AnswerHead, type Reply } from './reply.ts';
import { framedType } from './tensorFraming.ts';

const EMPTY = new Uint8Array(0);

/** Sends what is sealed on the way, in order: frames that are ready together go out together. */
class FrameQueue {
  readonly #outgoing: Outgoing;
  #sent: Promise<void> = Promise.resolve();

  constructor(outgoing: Outgoing) {
    this.#outgoing = outgoing;
  }

  push(sealed: Promise<Uint8Array>): void {
    this.#sent = this.#sent.then(async () => {
      this.#outgoing.write(await sealed);
    });
  }

  async end(last?: Promise<Uint8Array>): Promise<void> {
    await this.#sent;
    await this.#outgoing.end(await last);
  }
}

/** Answers in our profile: status, type, receipt id and key travel inside. */
export class SealedReply implements Reply {
  readonly #outgoing: Outgoing;
  readonly #queue: FrameQueue;
  readonly #sealer: FrameSealer;
  readonly #nonce: Uint8Array;
  readonly #withReceipt: boolean;
  status: number | undefined;

  /** With the receipt itself under the seal, where the client wants it so and it is there before the answer. */
  constructor(outgoing: Outgoing, nonce: Uint8Array, sealer: FrameSealer, withReceipt: boolean) {
    this.#outgoing = outgoing;
    this.#queue = new FrameQueue(outgoing);
    this.#nonce = nonce;
    this.#sealer = sealer;
    this.#withReceipt = withReceipt;
  }

  async send(head: AnswerHead, body: Uint8Array): Promise<void> {
    const frames = [
      this.#sealer.seal(insideOf(head, this.#withReceipt), false),
      this.#sealer.seal(body, true),
    ];
    const sealed = Buffer.concat(await Promise.all(frames));
    this.#writeHead(head, { 'content-length': sealed.length });
    await this.#outgoing.end(sealed);
  }

  begin(head: AnswerHead): void {
    this.#writeHead(head, {});
    this.#queue.push(this.#sealer.seal(insideOf(head, false), false));
  }

  write(event: Uint8Array): void {
    this.#queue.push(this.#sealer.seal(event, false));
  }

  end(): Promise<void> {
    return this.#queue.end(this.#sealer.seal(EMPTY, true));
  }

  #writeHead({ status, receipt, retryAfter }: AnswerHead, more: OutgoingHttpHeaders): void {
    this.status = status;
    this.#outgoing.response.writeHead(200, {
      'content-type': SEALED_CONTENT_TYPE,
      'cache-control': 'no-store',
      [RESPONSE_NONCE_HEADER]: Buffer.from(this.#nonce).toString('hex'),
      ...(receipt && openReceiptHeaders(receipt)),
      ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
      ...more,
    });
  }
}

function insideOf(
  { status, contentType, jsonLength, receipt }: AnswerHead,
  withReceipt: boolean,
): Uint8Array {
  return encodeSealedHead({
    status,
    contentType: framedType(contentType, jsonLength),
    receipt: receipt && {
      id: receipt.id,
      k: receipt.k,
      ...(withReceipt && { encoded: receipt.encoded }),
    },
  });
}

/**
 * Answers in plain EHBP: status and headers are open, as for whom nothing is encrypted, but for the commitment key. It
 * opens what the receipt commits to, so it travels in the body alone: as the first line of a stream. A body of another
 * form has no place for it, and its key is lost.
 */
export class EhbpReply implements Reply {
  readonly #outgoing: Outgoing;
  readonly #queue: FrameQueue;
  readonly #sealer: EhbpSealer;
  readonly #nonce: Uint8Array;
  status: number | undefined;

  constructor(outgoing: Outgoing, nonce: Uint8Array, sealer: EhbpSealer) {
    this.#outgoing = outgoing;
    this.#queue = new FrameQueue(outgoing);
    this.#nonce = nonce;
    this.#sealer = sealer;
  }

  async send(head: AnswerHead, body: Uint8Array): Promise<void> {
    const sealed = await this.#sealer.seal(body);
    this.#writeHead(head, { 'content-length': sealed.length });
    await this.#outgoing.end(sealed);
  }

  begin(head: AnswerHead): void {
    this.#writeHead(head, {});
  }

  write(event: Uint8Array): void {
    this.#queue.push(this.#sealer.seal(event));
  }

  end(): Promise<void> {
    return this.#queue.end();
  }

  #writeHead(head: AnswerHead, more: OutgoingHttpHeaders): void {
    this.status = head.status;
    this.#outgoing.response.writeHead(head.status, {
      ...openHeadersOf(head),
      'cache-control': 'no-store',
      [RESPONSE_NONCE_HEADER]: Buffer.from(this.#nonce).toString('hex'),
      ...more,
    });
  }
}
