import { isEventStream, type Answer, type AnswerStream } from './answer.ts';
import { ClientError } from './errors.ts';
import type { ServerEvent } from './events.ts';
import { JSON_LENGTH_HEADER, readFetchRequest, type FetchRequest } from './fetchRequest.ts';
import { readBody, send, type Service } from './http.ts';
import { leastMode, type ReceiptChecks, type ReceiptMode, type VerifiedAnswer } from './receiptChecks.ts';
import type { Renewal } from './renewal.ts';
import { exchangeSealed, type Plaintext } from './sealedExchange.ts';
import type { SessionParts } from './session.ts';

/** The part of the platform's `fetch` that clients of HTTP APIs call. */
export type FetchLike = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** `?1` where the receipt of a response was accepted, `?0` where nothing vouches for it. */
export const VERIFIED_HEADER = 'vouchsafe-verified';
const RECEIPT_ID_HEADER = 'vouchsafe-receipt-id';
/** Largest page that is read openly, bytes. */
const MAX_OPEN_BYTES = 16 * 1024 * 1024;
const OPEN_TIMEOUT_MS = 30_000;
/** What ends a stream for its reader. */
const LAST_EVENTS = ['response.completed', 'response.incomplete', 'response.failed'];
const DONE = '[DONE]';

export interface SessionFetchParts extends SessionParts {
  readonly checks: ReceiptChecks;
}

type Sealed = Extract<FetchRequest, { kind: 'sealed' }>;
type Open = Extract<FetchRequest, { kind: 'open' }>;

/** `fetch` over one session: the requests are sealed, and the answers checked against their receipts. */
export class SessionFetch {
  readonly #service: Service;
  readonly #renewal: Renewal;
  readonly #checks: ReceiptChecks;
  readonly #mode: ReceiptMode;
  readonly #parts: SessionFetchParts;
  readonly #verifications = new WeakMap<Response, Promise<VerifiedAnswer | undefined>>();

  constructor(parts: SessionFetchParts) {
    this.#parts = parts;
    this.#service = parts.service;
    this.#renewal = parts.renewal;
    this.#checks = parts.checks;
    this.#mode = modeOf(parts);
  }

  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const request = await readFetchRequest(this.#service.base, input, init);
    return request.kind === 'open' ? this.#read(request) : this.#ask(request);
  }

  verificationOf(response: Response): Promise<VerifiedAnswer | undefined> {
    return this.#verifications.get(response) ?? Promise.resolve(undefined);
  }

  /** A page that anybody may read. Whoever carries it can write what they like. */
  async #read({ path, authorization, signal }: Open): Promise<Response> {
    await this.#renewal.current();
    const exchange = { method: 'GET', path, authorization, signal, timeoutMs: OPEN_TIMEOUT_MS } as const;
    const response = await send(this.#service, exchange);
    const body = await readBody(response, MAX_OPEN_BYTES);
    const type = response.headers.get('content-type');
    return respond(response.status, body, {
      ...(type !== null && { 'content-type': type }),
      [VERIFIED_HEADER]: '?0',
    });
  }

  async #ask(request: Sealed): Promise<Response> {
    let stream: AnswerStream;
    try {
      stream = await exchangeSealed(this.#parts, request);
    } catch (error) {
      const response = error instanceof ClientError ? turnedAway(error) : undefined;
      if (response) return response;
      throw error;
    }
    return isEventStream(stream.contentType) ? this.#stream(stream, request) : this.#whole(stream, request);
  }

  /** Nothing of the answer is given before its receipt is accepted. */
  async #whole(stream: AnswerStream, request: Sealed): Promise<Response> {
    const answer = await stream.finish();
    const verified = await this.#check(answer, request);
    const response = respond(answer.status, answer.body, headersOf(stream, verified !== undefined));
    this.#verifications.set(response, Promise.resolve(verified));
    return response;
  }

  /** Each event is authentic as it comes; the last one waits for the receipt, which says that nothing is missing. */
  #stream(stream: AnswerStream, request: Sealed): Response {
    const { promise, settle } = settling<VerifiedAnswer | undefined>();
    const content = this.#eventsOf(stream, request, settle);
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const { done, value } = await content.next();
          if (done === true) controller.close();
          else controller.enqueue(value);
        },
        async cancel() {
          settle(Promise.resolve(undefined));
          await stream.cancel();
        },
      },
      { highWaterMark: 0 },
    );
    // Whether the receipt is accepted is known at the end only: the head cannot say it.
    const response = new Response(body, { status: stream.status, headers: headersOf(stream, undefined) });
    this.#verifications.set(response, promise);
    return response;
  }

  async *#eventsOf(
    stream: AnswerStream,
    request: Sealed,
    settle: (result: Promise<VerifiedAnswer | undefined>) => void,
  ): AsyncGenerator<Uint8Array, undefined> {
    const held: Uint8Array[] = [];
    for (let event = await next(stream, settle); event; event = await next(stream, settle)) {
      if (held.length > 0 || isLast(event)) held.push(event.raw);
      else yield event.raw;
    }
    const checking = stream.finish().then((answer) => this.#check(answer, request));
    settle(checking);
    await checking;
    yield* held;
    return undefined;
  }

  /**
   * The accepted receipt of an answer. An error that the service states inside the seal is one without a receipt, too,
   * or with one of an outcome that the policy does not take: undefined then, for no answer is believed.
   */
  async #check(answer: Answer, request: Sealed): Promise<VerifiedAnswer | undefined> {
    const isError = answer.status >= 400;
    if (isError && answer.receiptId === undefined) return undefined;
    const { authorization, signal } = request;
    let verified: VerifiedAnswer;
    try {
      verified = await this.#checks.check(answer, this.#mode, { authorization, signal });
    } catch (error) {
      if (isError && error instanceof ClientError && refusesOutcomeAlone(error)) return undefined;
      throw error;
    }
    await this.#keep(verified, request);
    this.#parts.onReceipt?.(verified);
    return verified;
  }

  async #keep({ answer, encoded, bundle }: VerifiedAnswer, { path }: Plaintext): Promise<void> {
    const { store, now } = this.#parts;
    const { receiptId: id, k, status, contentType, nonce, request, body: response } = answer;
    if (!store || id === undefined || !k) return;
    const head = { id, time: now(), path, status, contentType };
    try {
      await store.put({ ...head, nonce, k, request, response, receipt: encoded, bundle });
    } catch (error) {
      if (error instanceof ClientError) throw error;
      throw new ClientError('STORE_FAILED', `the receipt ${id} was not kept`, { cause: error });
    }
  }
}

/** What the caller wants, but never less than the policy asks for. */
function modeOf({ receipts = 'cited', policy }: SessionFetchParts): ReceiptMode {
  return leastMode(policy) === 'covered' ? 'covered' : receipts;
}

function isLast({ type, data }: ServerEvent): boolean {
  return LAST_EVENTS.includes(type) || new TextDecoder().decode(data.subarray(0, 7)) === DONE;
}

function refusesOutcomeAlone({ verdict }: ClientError): boolean {
  const failures = verdict?.checks.filter(({ result }) => result === 'fail') ?? [];
  return failures.length > 0 && failures.every(({ code }) => code === 'OUTCOME_NOT_ALLOWED');
}

/**
 * What a service, or a box before it, says in place of a sealed answer, as the client's own error: clients of an API
 * tell a missing key from a full queue by the status. Undefined for what is no such status.
 */
function turnedAway({ code, status = 0, message }: ClientError): Response | undefined {
  if (code !== 'REQUEST_REJECTED' || status < 400 || status > 599) return undefined;
  const error = { message: `not vouched for: ${message}`, type: 'unsealed', code };
  const body = new TextEncoder().encode(JSON.stringify({ error }));
  return respond(status, body, { 'content-type': 'application/json', [VERIFIED_HEADER]: '?0' });
}

/** The type as it is known outside of seals: how long the JSON before raw tensors is stands beside it there. */
function headersOf(stream: AnswerStream, isVerified: boolean | undefined): Record<string, string> {
  const { contentType, receiptId } = stream;
  const [, type, length] = JSON_LENGTH.exec(contentType) ?? [];
  return {
    'content-type': type ?? contentType,
    'cache-control': 'no-store',
    ...(length !== undefined && { [JSON_LENGTH_HEADER]: length }),
    ...(receiptId !== undefined && { [RECEIPT_ID_HEADER]: receiptId }),
    ...(isVerified !== undefined && { [VERIFIED_HEADER]: isVerified ? '?1' : '?0' }),
  };
}

const JSON_LENGTH = new RegExp(`^(.*); ${JSON_LENGTH_HEADER}=(\\d+)$`, 's');

/** Statuses that have no body. */
const WITHOUT_BODY = [204, 205, 304];

function respond(status: number, body: Uint8Array, headers: Record<string, string>): Response {
  if (status < 200 || status > 599) {
    throw new ClientError('BAD_ANSWER', `${status} is no status of an answer`);
  }
  const content = WITHOUT_BODY.includes(status) ? null : (body as Uint8Array<ArrayBuffer>);
  return new Response(content, { status, headers });
}

/** The next event; whoever asks for the receipt hears why there is none. */
async function next(
  stream: AnswerStream,
  settle: (result: Promise<undefined>) => void,
): Promise<ServerEvent | undefined> {
  const reading = stream.nextEvent();
  reading.catch(() => {
    settle(reading.then(() => undefined));
  });
  return reading;
}

/** A promise that somebody else settles, or nobody hears of. */
function settling<T>(): { readonly promise: Promise<T>; readonly settle: (result: Promise<T>) => void } {
  let settle: (result: Promise<T>) => void = () => undefined;
  const promise = new Promise<T>((resolve) => (settle = resolve));
  promise.catch(() => undefined);
  return { promise, settle };
}
