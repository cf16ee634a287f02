import { concat, fromUtf8, utf8 } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { ClientError } from './errors.ts';

/** One event of `text/event-stream`. */
export interface ServerEvent {
  /** `message` where none was named. */
  readonly type: string;
  readonly data: Uint8Array;
  /** Its lines as they came, but for comments, with the empty one that ends it. */
  readonly raw: Uint8Array;
}

/** Largest event, bytes. */
const MAX_EVENT_BYTES = 16 * 1024 * 1024;
const LINE_FEED = 0x0a;

/** Splits a stream of server-sent events as the service writes them: lines end in LF or CR LF. */
export class EventSplitter {
  #rest: Uint8Array = new Uint8Array(0);
  #type = 'message';
  #data: string[] = [];
  #lines: Uint8Array[] = [];

  /** The events that these bytes complete. */
  push(bytes: Uint8Array): readonly ServerEvent[] {
    const buffer = concat(this.#rest, bytes);
    const events: ServerEvent[] = [];
    let start = 0;
    for (let end = buffer.indexOf(LINE_FEED); end !== -1; end = buffer.indexOf(LINE_FEED, start)) {
      const line = buffer.subarray(start, end + 1);
      const text = decode(line).replace(/\r?\n$/, '');
      if (!text.startsWith(':')) this.#lines.push(line);
      const event = this.#line(text);
      if (event) events.push(event);
      start = end + 1;
    }
    this.#rest = buffer.slice(start);
    if (this.#rest.length > MAX_EVENT_BYTES) throw new ClientError('BAD_ANSWER', 'an event is too large');
    return events;
  }

  #line(line: string): ServerEvent | undefined {
    if (line === '') return this.#dispatch();
    const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#type = value;
    return undefined;
  }

  #dispatch(): ServerEvent | undefined {
    const event = { type: this.#type, data: utf8(this.#data.join('\n')), raw: concat(...this.#lines) };
    const empty = this.#data.length === 0;
    this.#type = 'message';
    this.#data = [];
    this.#lines = [];
    return empty ? undefined : event;
  }
}

/** The event that has the receipt: the one that the receipt does not commit to. */
export const RECEIPT_EVENT = 'vouchsafe.receipt';

/** The chunks that a receipt of a stream commits to: `data` values of its events, `[DONE]` included. */
export function streamChunks(body: Uint8Array): readonly Uint8Array[] {
  return dataOf(new EventSplitter().push(body));
}

export function dataOf(events: readonly ServerEvent[]): readonly Uint8Array[] {
  return events.filter(({ type }) => type !== RECEIPT_EVENT).map(({ data }) => data);
}

function decode(line: Uint8Array): string {
  try {
    return fromUtf8(line);
  } catch (error) {
    if (error instanceof Refusal)
      throw new ClientError('BAD_ANSWER', 'an event is no UTF-8', { cause: error });
    throw error;
  }
}
