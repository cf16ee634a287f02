import { randomBytes } from 'node:crypto';
import { concat } from '../../attestation/bytes/bytes.ts';
import {
  type BinaryResponse,
  encodeBinaryResponse,
  encodeContentPiece,
  encodeResponseHead,
  MESSAGE_END,
  type ResponseHead,
} from '../../attestation/channel/ohttp/bhttp.ts';
import { ChunkSealer, CHUNKED_RESPONSE_TYPE } from '../../attestation/channel/ohttp/chunked.ts';
import type { Recipient } from '../../attestation/channel/ohttp/exchange.ts';
import { RESPONSE_TYPE, sealWholeResponse } from '../../attestation/channel/ohttp/whole.ts';
import { EVENT_STREAM } from './eventStream.ts';
import type { Outgoing } from './outgoing.ts';
import { type AnswerHead, openHeadersOf, receiptHeaders, type Reply } from './reply.ts';

/** Whole answers, and the events of streams, are of a multiple of so many bytes before they are sealed. */
const PAD_BYTES = 256;

/** Answers a request of Oblivious HTTP in one piece (RFC 9458): a stream is kept until its end. */
export class WholeObliviousReply implements Reply {
  readonly #outgoing: Outgoing;
  readonly #recipient: Recipient;
  #head: AnswerHead | undefined;
  #parts: Uint8Array[] = [];
  status: number | undefined;

  constructor(outgoing: Outgoing, recipient: Recipient) {
    this.#outgoing = outgoing;
    this.#recipient = recipient;
  }

  async send(head: AnswerHead, body: Uint8Array): Promise<void> {
    this.status = head.status;
    const nonce = randomBytes(this.#recipient.nonceBytes);
    const sealed = await sealWholeResponse(this.#recipient, nonce, encodeWhole(head, body));
    writeHead(this.#outgoing, { 'content-type': RESPONSE_TYPE, 'content-length': String(sealed.length) });
    await this.#outgoing.end(sealed);
  }

  begin(head: AnswerHead): void {
    this.status = head.status;
    this.#head = head;
  }

  write(event: Uint8Array): void {
    this.#parts.push(event);
  }

  async end(): Promise<void> {
    if (!this.#head) throw new Error('the stream was not begun');
    await this.send(this.#head, concat(...this.#parts.splice(0)));
  }
}

/** Answers a request of Chunked Oblivious HTTP: each event of a stream goes out at once, sealed for itself. */
export class ChunkedObliviousReply implements Reply {
  readonly #outgoing: Outgoing;
  readonly #sealer: ChunkSealer;
  #isPadded = false;
  #sent: Promise<void> = Promise.resolve();
  status: number | undefined;

  private constructor(outgoing: Outgoing, sealer: ChunkSealer) {
    this.#outgoing = outgoing;
    this.#sealer = sealer;
  }

  static async to(outgoing: Outgoing, recipient: Recipient): Promise<ChunkedObliviousReply> {
    const nonce = randomBytes(recipient.nonceBytes);
    return new ChunkedObliviousReply(outgoing, await ChunkSealer.begin(recipient, nonce));
  }

  async send(head: AnswerHead, body: Uint8Array): Promise<void> {
    this.status = head.status;
    const sealed = await this.#sealer.seal(encodeWhole(head, body), true);
    writeHead(this.#outgoing, {
      'content-type': CHUNKED_RESPONSE_TYPE,
      'content-length': String(sealed.length),
    });
    await this.#outgoing.end(sealed);
  }

  begin(head: AnswerHead): void {
    this.status = head.status;
    this.#isPadded = head.contentType === EVENT_STREAM;
    writeHead(this.#outgoing, { 'content-type': CHUNKED_RESPONSE_TYPE, incremental: '?1' });
    this.#push(encodeResponseHead(headOf(head)));
  }

  write(event: Uint8Array): void {
    this.#push(encodeContentPiece(this.#isPadded ? padEvent(event) : event));
  }

  async end(): Promise<void> {
    const last = this.#sealer.seal(MESSAGE_END, true);
    await this.#sent;
    await this.#outgoing.end(await last);
  }

  #push(piece: Uint8Array): void {
    const sealed = this.#sealer.seal(piece, false);
    this.#sent = this.#sent.then(async () => {
      this.#outgoing.write(await sealed);
    });
  }
}

/** Outside the seal stands what carries it, and nothing of what it holds (RFC 9458 section 5). */
function writeHead({ response }: Outgoing, headers: Readonly<Record<string, string>>): void {
  response.removeHeader('x-request-id');
  response.writeHead(200, { ...headers, 'cache-control': 'no-store' });
}

function encodeWhole(head: AnswerHead, content: Uint8Array): Uint8Array {
  const response: BinaryResponse = { ...headOf(head), content, trailers: [] };
  return encodeBinaryResponse(response, PAD_BYTES);
}

function headOf(head: AnswerHead): ResponseHead {
  const headers = { ...openHeadersOf(head), ...(head.receipt && receiptHeaders(head.receipt)) };
  return {
    status: head.status,
    headers: Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name.toLowerCase(), String(value)] as const],
    ),
  };
}

/**
 * An event with a comment behind it, so that its length says less of its text. Readers of event streams pass over
 * comments, and receipts commit to the data of events alone.
 */
function padEvent(event: Uint8Array): Uint8Array {
  const over = event.length % PAD_BYTES;
  if (over === 0) return event;
  // A comment is a colon and a line feed at the least.
  const length = PAD_BYTES - over < 2 ? 2 * PAD_BYTES - over : PAD_BYTES - over;
  const comment = new Uint8Array(length).fill(0x2e);
  comment[0] = 0x3a;
  comment[length - 1] = 0x0a;
  return concat(event, comment);
}
