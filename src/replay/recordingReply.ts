import { concat, fromUtf8, utf8 } from '../../attestation/bytes/bytes.ts';
import type { AnswerHead, Reply } from '../http/reply.ts';

/** Keeps an answer instead of sending it. */
export class RecordingReply implements Reply {
  status: number | undefined;
  /** Bytes of JSON at the start of the body, where raw tensors follow. */
  jsonLength: number | undefined;
  /** True where the answer was a stream. */
  streamed = false;
  readonly #parts: Uint8Array[] = [];

  get body(): Uint8Array {
    return concat(...this.#parts);
  }

  /** Values of the events that a receipt commits to: all but the receipt itself. */
  get chunks(): readonly Uint8Array[] {
    return this.#parts.map((part) => valueOf(fromUtf8(part))).filter((value) => value !== undefined);
  }

  send({ status, jsonLength }: AnswerHead, body: Uint8Array): void {
    this.status = status;
    this.jsonLength = jsonLength;
    this.#parts.push(body);
  }

  begin({ status }: AnswerHead): void {
    this.status = status;
    this.streamed = true;
  }

  write(event: Uint8Array): void {
    this.#parts.push(event);
  }

  end(): void {
    // Nothing is held back.
  }
}

const EVENT = /^(?:event: ([^\n]*)\n)?data: ([^\n]*)\n\n$/;
const RECEIPT_EVENT = 'vouchsafe.receipt';

/** The service writes each event in one piece, its value on one line. Comments have no value. */
function valueOf(event: string): Uint8Array | undefined {
  const [, name, value] = EVENT.exec(event) ?? [];
  return value === undefined || name === RECEIPT_EVENT ? undefined : utf8(value);
}
