import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { JSON_LENGTH_HEADER } from './tensorFraming.ts';

/** The receipt of an answer, as the client is told of it. */
export interface ReceiptNotice {
  readonly id: Uint8Array;
  readonly k: Uint8Array;
  /** Digest of the evidence document that the receipt cites; of a stream, the newest at its start. */
  readonly evidence: Uint8Array;
  /** Whether a later document covers the receipt, where the client wanted to wait for one. */
  readonly covered?: boolean | undefined;
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
}

/** Where an answer goes: openly, or under the client's seal. */
export interface Reply {
  readonly status: number | undefined;
  /** A whole answer. */
  send(head: AnswerHead, body: Uint8Array): void | Promise<void>;
  /** The beginning of a stream. */
  begin(head: AnswerHead): void;
  /** One event of a stream. */
  write(event: Uint8Array): void;
  end(): void | Promise<void>;
}

/** Answers openly. */
export class PlainReply implements Reply {
  readonly #response: ServerResponse;
  status: number | undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  send(head: AnswerHead, body: Uint8Array): void {
    const headers = headersOf(head);
    headers['content-length'] = body.length;
    this.#writeHead(head.status, headers);
    this.#response.end(body);
  }

  begin(head: AnswerHead): void {
    const headers = headersOf(head);
    headers['cache-control'] = 'no-store';
    this.#writeHead(head.status, headers);
  }

  write(event: Uint8Array): void {
    this.#response.write(event);
  }

  end(): void {
    this.#response.end();
  }

  #writeHead(status: number, headers: OutgoingHttpHeaders): void {
    this.status = status;
    this.#response.writeHead(status, headers);
  }
}

function headersOf({ contentType, jsonLength, receipt, retryAfter }: AnswerHead): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { 'content-type': contentType };
  if (jsonLength !== undefined) headers[JSON_LENGTH_HEADER] = jsonLength;
  if (receipt) {
    headers['vouchsafe-receipt-id'] = Buffer.from(receipt.id).toString('hex');
    headers['vouchsafe-commitment-key'] = Buffer.from(receipt.k).toString('base64url');
    headers['vouchsafe-evidence'] = Buffer.from(receipt.evidence).toString('hex');
    if (receipt.covered !== undefined) headers['vouchsafe-fresh'] = receipt.covered ? '?1' : '?0';
  }
  if (retryAfter !== undefined) headers['retry-after'] = String(retryAfter);
  return headers;
}
