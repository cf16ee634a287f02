import { setTimeout as delay } from 'node:timers/promises';
import { redirectTarget, requireSecure } from './address.ts';
import { dropBody, readBody } from './body.ts';
import { CollateralError } from './errors.ts';
import { acceptOf, requireMedia, type MediaKind } from './media.ts';
import { withTimeLimit } from './timeLimit.ts';

/** The part of `fetch` that is used. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface HttpOptions {
  readonly fetch?: Fetch | undefined;
  /** Allows plain HTTP to other machines. */
  readonly insecureHttp?: boolean | undefined;
  /** For one attempt, redirects and body included; 20 seconds by default. */
  readonly requestTimeoutMs?: number | undefined;
  /** Attempts at one request; 4 by default. */
  readonly attempts?: number | undefined;
  /** First pause where the service names none; doubled each time, with jitter. Half a second by default. */
  readonly backoffMs?: number | undefined;
  /** Longest pause that a service may ask for; 30 seconds by default. */
  readonly maxPauseMs?: number | undefined;
  /** Told before each pause. */
  readonly onPause?: ((milliseconds: number, because: CollateralError) => void) | undefined;
}

/** One statement, as it is asked for: by GET, or with a question by POST. */
export interface HttpRequest {
  readonly url: string;
  readonly question?: { readonly type: string; readonly body: Uint8Array } | undefined;
  readonly media: MediaKind;
  /** Largest body, bytes. */
  readonly maxBytes: number;
  /** Throws a `CollateralError` for a body that says that there is no answer, perhaps none yet. */
  readonly refuse?: ((body: Uint8Array, host: string) => void) | undefined;
}

export interface HttpAnswer {
  readonly body: Uint8Array;
  readonly headers: Headers;
}

const MAX_REDIRECTS = 3;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];
/** Others turn a POST into a GET (RFC 9110 section 15.4). */
const KEEPS_QUESTION: readonly number[] = [307, 308];
const TRANSIENT: readonly number[] = [500, 502, 503, 504];

/** Asks a service that may be slow, broken or hostile, and gives up on it in bounded time and memory. */
export class HttpClient {
  readonly #fetch: Fetch;
  readonly #insecureHttp: boolean;
  readonly #requestTimeoutMs: number;
  readonly #attempts: number;
  readonly #backoffMs: number;
  readonly #maxPauseMs: number;
  readonly #onPause: NonNullable<HttpOptions['onPause']>;

  constructor(options: HttpOptions = {}) {
    this.#fetch = options.fetch ?? ((url, init) => fetch(url, init));
    this.#insecureHttp = options.insecureHttp ?? false;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? 20_000;
    this.#attempts = options.attempts ?? 4;
    this.#backoffMs = options.backoffMs ?? 500;
    this.#maxPauseMs = options.maxPauseMs ?? 30_000;
    this.#onPause = options.onPause ?? (() => undefined);
  }

  /** Throws a `CollateralError`, or the reason of `signal`. */
  async ask(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt(request, signal);
      } catch (error) {
        if (!(error instanceof CollateralError) || !error.transient || attempt >= this.#attempts) throw error;
        await this.#pause(attempt, error, signal);
      }
    }
  }

  #attempt(request: HttpRequest, outer: AbortSignal): Promise<HttpAnswer> {
    const late = `${new URL(request.url).host} did not answer`;
    return withTimeLimit(this.#requestTimeoutMs, outer, late, async (signal) => {
      const { response, url } = await this.#follow(request, signal);
      await requireSuccess(response, url);
      try {
        requireMedia(response.headers, request.media, url.host);
      } catch (error) {
        await dropBody(response);
        throw error;
      }
      const body = await readBody(response, request.maxBytes, url.host, signal);
      request.refuse?.(body, url.host);
      return { body, headers: response.headers };
    });
  }

  async #follow(request: HttpRequest, signal: AbortSignal): Promise<{ response: Response; url: URL }> {
    let url = new URL(request.url);
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      requireSecure(url, this.#insecureHttp);
      const response = await this.#send(url, request, signal);
      if (!REDIRECTS.includes(response.status)) return { response, url };
      await dropBody(response);
      if (request.question && !KEEPS_QUESTION.includes(response.status)) {
        const message = `${url.host} answers a question with a redirect of HTTP ${response.status}, which drops it`;
        throw new CollateralError('redirect', message);
      }
      url = redirectTarget(url, response.headers.get('location') ?? '');
    }
    throw new CollateralError('redirect', `${url.host} redirects more than ${MAX_REDIRECTS} times`);
  }

  async #send(url: URL, { media, question }: HttpRequest, signal: AbortSignal): Promise<Response> {
    // Lengths are compared with limits: nothing is gained by compression of a few kilobytes.
    const headers = { accept: acceptOf(media), 'accept-encoding': 'identity' };
    const asked = question && {
      method: 'POST',
      headers: { ...headers, 'content-type': question.type },
      body: new Uint8Array(question.body),
    };
    try {
      const init: RequestInit = { headers, ...asked, redirect: 'manual', credentials: 'omit', signal };
      return await this.#fetch(url.href, init);
    } catch (error) {
      signal.throwIfAborted();
      const message = `${url.host} cannot be reached${causeOf(error)}`;
      throw new CollateralError('unreachable', message, { cause: error, transient: true });
    }
  }

  /** Waits as long as the service asks, else a random part of a doubling span, so that many do not ask at once. */
  async #pause(attempt: number, error: CollateralError, signal: AbortSignal): Promise<void> {
    const span = this.#backoffMs * 2 ** (attempt - 1);
    const pause = error.retryAfterMs ?? Math.round(span * (0.5 + Math.random() / 2));
    if (pause > this.#maxPauseMs) throw error;
    this.#onPause(pause, error);
    try {
      await delay(pause, undefined, { signal });
    } catch (aborted) {
      signal.throwIfAborted();
      throw aborted;
    }
  }
}

/** Names of system and TLS errors, such as ECONNREFUSED or DEPTH_ZERO_SELF_SIGNED_CERT. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  return typeof cause?.code === 'string' && /^[A-Z0-9_]{1,64}$/.test(cause.code) ? ` (${cause.code})` : '';
}

async function requireSuccess(response: Response, { host }: URL): Promise<void> {
  const { status } = response;
  if (status === 200) return;
  await dropBody(response);
  const retryAfterMs = retryAfter(response.headers.get('retry-after'));
  if (status === 429) {
    const wish = retryAfterMs === undefined ? '' : `, again in ${Math.ceil(retryAfterMs / 1000)} s`;
    const message = `${host} answers no more requests for now${wish}`;
    throw new CollateralError('rate-limited', message, { retryAfterMs, transient: true });
  }
  const code = status === 404 || status === 410 ? 'not-found' : 'status';
  const transient = TRANSIENT.includes(status);
  throw new CollateralError(code, `${host} answers HTTP ${status}`, { retryAfterMs, transient });
}

/** Seconds or a date (RFC 9110 section 10.2.3), in milliseconds from now. */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}
