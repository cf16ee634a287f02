import { Metadata, type sendUnaryData, type ServerReadableStream } from '@grpc/grpc-js';
import type { ServiceError } from '../http/errors.ts';
import { errorBody } from '../http/dialect.ts';
import { type AnswerHead, receiptHeaders, type Reply } from '../http/reply.ts';
import { CODE_NAME, STATUSES } from './status.ts';

/** Messages as bytes: what was received and what is sent is what receipts commit to. */
export type GrpcCall = ServerReadableStream<Buffer, Buffer>;

/** Answers a unary call. The receipt is named in initial metadata, the code of a refusal in trailing metadata. */
export class GrpcReply implements Reply {
  readonly #call: GrpcCall;
  readonly #respond: sendUnaryData<Buffer>;
  readonly #requestId: string;
  status: number | undefined;

  constructor(call: GrpcCall, respond: sendUnaryData<Buffer>, requestId: string) {
    this.#call = call;
    this.#respond = respond;
    this.#requestId = requestId;
  }

  /** The body of a refusal is the text of its status. Done once the answer went out, or the call was ended. */
  send(head: AnswerHead, body: Uint8Array): Promise<void> {
    this.#send(head, body);
    return this.#ended();
  }

  #send({ status, failure, receipt }: AnswerHead, body: Uint8Array): void {
    this.status = status;
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    if (receipt) this.#call.sendMetadata(receiptMetadata(receipt));
    const trailer = new Metadata();
    trailer.set('x-request-id', this.#requestId);
    if (!failure) {
      this.#respond(null, bytes, trailer);
      return;
    }
    trailer.set(CODE_NAME, failure.code);
    if (failure.retryAfter !== undefined) {
      trailer.set('grpc-retry-pushback-ms', String(failure.retryAfter * 1000));
    }
    this.#respond({ code: STATUSES[failure.code], details: bytes.toString() }, null, trailer);
  }

  /** Refuses without a receipt. */
  refuse(failure: ServiceError): Promise<void> {
    return this.send({ status: failure.status, contentType: '', failure }, errorBody('grpc', failure));
  }

  /** grpc-js says `cancelled` at the end of every call. */
  #ended(): Promise<void> {
    if (this.#call.cancelled) return Promise.resolve();
    return new Promise((resolve) => {
      this.#call.once('cancelled', () => {
        resolve();
      });
    });
  }

  begin(): never {
    throw unary();
  }

  write(): never {
    throw unary();
  }

  end(): never {
    throw unary();
  }
}

function unary(): Error {
  return new Error('a unary call answers with one message');
}

function receiptMetadata(receipt: NonNullable<AnswerHead['receipt']>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(receiptHeaders(receipt))) metadata.set(name, value);
  return metadata;
}
