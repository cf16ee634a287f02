import { once } from 'node:events';
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { isEventStream } from '../../client/answer.ts';
import { EventSplitter } from '../../client/events.ts';
import type { VerifiedAnswer } from '../../client/receiptChecks.ts';
import { failureBody, type Failure } from './errors.ts';
import { saidTier } from './settings.ts';
import type { Restoration } from './restoration.ts';

const VERDICT_EVENT = 'vouchsafe.verdict';
/** How long the reason of a refusal has to arrive, before the connection breaks. */
const REASON_MS = 100;
/** Of an answer, what is handed on as it is. */
const HEADERS = ['content-type', 'inference-header-content-length', 'vouchsafe-receipt-id', 'retry-after'];

/** How an answer is given. */
export interface Giving {
  /** Of the request. */
  readonly path: string;
  readonly response: ServerResponse;
  readonly headers: OutgoingHttpHeaders;
  readonly restoration: Restoration | undefined;
  readonly extraAnchors?: readonly string[] | undefined;
}

export function isStream({ headers }: Response): boolean {
  return isEventStream(headers.get('content-type') ?? '');
}

export function passedHeaders({ headers }: Response): OutgoingHttpHeaders {
  return Object.fromEntries(HEADERS.flatMap((name) => entryOf(name, headers.get(name))));
}

function entryOf(name: string, value: string | null): readonly (readonly [string, string])[] {
  return value === null ? [] : [[name, value]];
}

/** What was decided on an answer, in headers. */
function verdictHeaders(
  verified: VerifiedAnswer | undefined,
  extraAnchors: readonly string[] = [],
): OutgoingHttpHeaders {
  if (!verified) return { 'vouchsafe-verdict': 'none' };
  const { verdict, receipt } = verified;
  return {
    'vouchsafe-verdict': verdict.decision,
    'vouchsafe-tier': saidTier(verdict.tier, extraAnchors),
    ...(extraAnchors.length > 0 && { 'vouchsafe-extra-anchors': extraAnchors.join(', ') }),
    ...(verdict.simulated.length > 0 && { 'vouchsafe-simulated': verdict.simulated.join(', ') }),
    ...(receipt && { 'vouchsafe-evidence': toHex(receipt.claims.evidenceDigest) }),
  };
}

/** A whole answer whose verdict is known, or an error that only the seal vouches for. */
export function giveWhole(
  answer: Response,
  body: Uint8Array,
  verified: VerifiedAnswer | undefined,
  { response, headers, restoration, extraAnchors }: Giving,
): void {
  const content = restoration ? restored(answer, body, restoration) : body;
  response
    .writeHead(answer.status, {
      ...passedHeaders(answer),
      'cache-control': 'no-store',
      ...verdictHeaders(verified, extraAnchors),
      ...headers,
      'content-length': content.length,
    })
    .end(content);
}

function restored(answer: Response, body: Uint8Array, restoration: Restoration): Uint8Array {
  if (!isStream(answer)) return restoration.body(body);
  return utf8(new EventsRestored(restoration).push(body));
}

/**
 * Gives a stream as it comes: each event is authentic by itself. The session holds the last one back until the receipt
 * is accepted; of streams whose last event has no name, it is held here. Without it no client takes a stream for whole.
 */
export class LiveStream {
  readonly #giving: Giving;
  readonly #response: ServerResponse;
  readonly #events: EventsRestored | undefined;
  readonly #decoder = new TextDecoder();
  readonly #holdsLast: boolean;
  #held = '';

  constructor(answer: Response, giving: Giving) {
    this.#giving = giving;
    this.#response = giving.response;
    this.#events = giving.restoration && new EventsRestored(giving.restoration);
    this.#holdsLast = giving.path.startsWith('/v2/');
    this.#response.writeHead(answer.status, {
      ...passedHeaders(answer),
      'cache-control': 'no-store',
      'vouchsafe-verdict': 'pending',
      ...giving.headers,
    });
    this.#response.flushHeaders();
  }

  async write(bytes: Uint8Array): Promise<void> {
    const text = this.#events ? this.#events.push(bytes) : this.#decoder.decode(bytes, { stream: true });
    await this.#send(this.#held);
    this.#held = '';
    if (this.#holdsLast || isDone(text)) this.#held = text;
    else await this.#send(text);
  }

  /** The verdict as a comment before the end of the stream, and as an event after it, for clients that read on. */
  async finish({ verdict, receipt }: VerifiedAnswer): Promise<void> {
    const { decision, simulated } = verdict;
    const { extraAnchors } = this.#giving;
    const tier = saidTier(verdict.tier, extraAnchors);
    const id = receipt && toHex(receipt.claims.id);
    const evidence = receipt && toHex(receipt.claims.evidenceDigest);
    await this.#send(`: vouchsafe-verdict ${decision} ${id ?? ''}\n\n${this.#held}`);
    this.#response.end(
      eventOf({ decision, tier, simulated, extra_anchors: extraAnchors, receipt_id: id, evidence }),
    );
  }

  /** The reason, then a connection that breaks. */
  async refuse(failure: Failure): Promise<void> {
    const decision = failure.isFinal ? 'refused' : 'none';
    // Clients of OpenAI's API throw what stands in `error`.
    await this.#send(eventOf({ decision, ...failureBody(this.#giving.path, failure) }));
    // Readers drop what they have not read when a connection breaks.
    await delay(REASON_MS);
    this.#response.destroy();
  }

  async #send(text: string): Promise<void> {
    if (text === '' || this.#response.destroyed || this.#response.write(text)) return;
    const closed = new AbortController();
    const onClose = (): void => {
      closed.abort();
    };
    this.#response.once('close', onClose);
    await once(this.#response, 'drain', { signal: closed.signal }).catch(() => undefined);
    this.#response.off('close', onClose);
  }
}

function isDone(text: string): boolean {
  return /^data: ?\[DONE\]/m.test(text);
}

function eventOf(value: object): string {
  return `event: ${VERDICT_EVENT}\ndata: ${JSON.stringify({ type: VERDICT_EVENT, ...value })}\n\n`;
}

/** Events with the originals in place of placeholders. */
class EventsRestored {
  readonly #splitter = new EventSplitter();
  readonly #restoration: Restoration;

  constructor(restoration: Restoration) {
    this.#restoration = restoration;
  }

  push(bytes: Uint8Array): string {
    const events = this.#splitter.push(bytes).map(({ type, data }) => {
      const name = type === 'message' ? '' : `event: ${type}\n`;
      return this.#restoration
        .chunk(new TextDecoder().decode(data))
        .map((text) => `${name}data: ${text}\n\n`);
    });
    return events.flat().join('');
  }
}

/** Withholds everything: the failure is all that the caller gets. */
export function giveFailure(response: ServerResponse, path: string, failure: Failure): void {
  const { status, retryAfter, allow, isFinal, code } = failure;
  const body = utf8(JSON.stringify(failureBody(path, failure)));
  response
    .writeHead(status, {
      'content-type': 'application/json',
      'content-length': body.length,
      'cache-control': 'no-store',
      'vouchsafe-verdict': isFinal ? 'refused' : 'none',
      'vouchsafe-error': code,
      ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
      ...(allow !== undefined && { allow }),
      // Clients of OpenAI's API retry 5xx by themselves.
      ...(isFinal && { 'x-should-retry': 'false' }),
    })
    .end(body);
}
