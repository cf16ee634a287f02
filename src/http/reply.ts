import type { OutgoingHttpHeaders } from 'node:http';
import type { ServiceError } from './errors.ts';
import type { Outgoing } from './outgoing.ts';
import { JSON_LENGTH_HEADER } from './tensorFraming.ts';

/** The receipt of an answer, as the client is told of it. */
export interface ReceiptNotice {
  readonly id: Uint8Array;
  readonly k: Uint8Array;
  /** Digest of the evidence document that the receipt cites; of a stream, the newest at its start. */
  readonly evidence: Uint8Array;
  /** Whether a later document covers the receipt, where the client wanted to wait for one. */
  readonly covered?: boolean | undefined;
  /** The receipt itself; undefined before it is issued, as at the start of a stream. */
  readonly encoded?: Uint8Array | undefined;
}

/** What comes before the body of an answer. */
export interface AnswerHead {
  readonly status: number;
  readonly contentType: string;
  /** Bytes of JSON at the start, where raw tensors follow. */
  readonly jsonLength?: number | undefined;
  /** Undefined where no receipt was issued. */
  readonly receipt?: ReceiptNotice | undefined;
  /** Seconds. */
  readonly retryAfter?: number | undefined;
  /** Further headers, for answers that nobody seals, such as those that caches keep. */
  readonly headers?: OutgoingHttpHeaders | undefined;
  /** What the body tells, for carriers that say it beside the body, too; undefined where all went well. */
  readonly failure?: ServiceError | undefined;
}

/** Where an answer goes: openly, or under the client's seal. */
export interface Reply {
  readonly status: number | undefined;
  /** A whole answer. Done once it went out, or its reader was given up: until then its request has its place. */
  send(head: AnswerHead, body: Uint8Array): void | Promise<void>;
  /** The beginning of a stream. */
  begin(head: AnswerHead): void;
  /** One event of a stream. */
  write(event: Uint8Array): void;
  end(): void | Promise<void>;
}

/** Answers openly. */
export class PlainReply implements Reply {
  readonly #outgoing: Outgoing;
  status: number | undefined;

  constructor(outgoing: Outgoing) {
    this.#outgoing = outgoing;
  }

  send(head: AnswerHead, body: Uint8Array): void | Promise<void> {
    const headers = headersOf(head);
    // A 304 has the length of what the asker keeps, or none.
    if (head.status !== 304) headers['content-length'] = body.length;
    this.#writeHead(head.status, headers);
    return this.#outgoing.end(body);
  }

  begin(head: AnswerHead): void {
    const headers = headersOf(head);
    headers['cache-control'] = 'no-store';
    this.#writeHead(head.status, headers);
  }

  write(event: Uint8Array): void {
    this.#outgoing.write(event);
  }

  end(): void | Promise<void> {
    return this.#outgoing.end();
  }

  #writeHead(status: number, headers: OutgoingHttpHeaders): void {
    this.status = status;
    this.#outgoing.response.writeHead(status, headers);
  }
}

function headersOf(head: AnswerHead): OutgoingHttpHeaders {
  const { receipt } = head;
  return receipt ? { ...openHeadersOf(head), ...receiptHeaders(receipt) } : openHeadersOf(head);
}

/** The headers of an answer but for the commitment key, which only its client may read. */
export function openHeadersOf({
  contentType,
  jsonLength,
  receipt,
  retryAfter,
  headers: more,
}: AnswerHead): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { 'content-type': contentType, ...more };
  if (jsonLength !== undefined) headers[JSON_LENGTH_HEADER] = jsonLength;
  if (receipt) Object.assign(headers, openReceiptHeaders(receipt));
  if (retryAfter !== undefined) headers['retry-after'] = String(retryAfter);
  return headers;
}

/** The receipt of an answer by the names of DESIGN section 5, which HTTP and gRPC share. */
export function receiptHeaders(receipt: ReceiptNotice): Readonly<Record<string, string>> {
  return {
    ...openReceiptHeaders(receipt),
    'vouchsafe-commitment-key': Buffer.from(receipt.k).toString('base64url'),
  };
}

/** Those that are open where the body is encrypted. */
export function openReceiptHeaders({
  id,
  evidence,
  covered,
}: ReceiptNotice): Readonly<Record<string, string>> {
  return {
    'vouchsafe-receipt-id': Buffer.from(id).toString('hex'),
    'vouchsafe-evidence': Buffer.from(evidence).toString('hex'),
    ...(covered !== undefined && { 'vouchsafe-fresh': covered ? '?1' : '?0' }),
  };
}
