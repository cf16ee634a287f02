import { setTimeout as delay } from 'node:timers/promises';
import { HostingError, type HostingErrorCode } from '../hostingErrors.ts';

export interface SourceHttpOptions {
  /** Allows plain HTTP to other machines. */
  readonly insecureHttp?: boolean | undefined;
  /** Attempts at one request; 4 by default. */
  readonly attempts?: number | undefined;
  /** First pause, doubled each time; half a second by default. */
  readonly backoffMs?: number | undefined;
  /** Longest silence of a service; 60 seconds by default. */
  readonly idleTimeoutMs?: number | undefined;
  /** Ends everything, with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Told before each pause. */
  readonly onPause?: ((milliseconds: number, because: HostingError) => void) | undefined;
}

/** An answer that is good: status 200, redirects followed. */
export interface SourceAnswer {
  readonly headers: Headers;
  /** Where the answer came from. */
  readonly url: URL;
  /** The body; ends with a `HostingError` where it is cut off, silent for too long or longer than allowed. */
  readonly body: AsyncIterable<Uint8Array>;
}

export type RequestHeaders = Readonly<Record<string, string>>;

const MAX_REDIRECTS = 5;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];
const TRANSIENT: readonly number[] = [408, 429, 500, 502, 503, 504];
const MAX_PAUSE_MS = 30_000;
const STATUS_CODES: Readonly<Record<number, HostingErrorCode>> = {
  401: 'SOURCE_UNAUTHORIZED',
  403: 'SOURCE_UNAUTHORIZED',
  404: 'SOURCE_NOT_FOUND',
  410: 'SOURCE_NOT_FOUND',
};

/** Says that credentials are wanted, which, and by whom. */
export class Unauthorized extends HostingError {
  /** Of the answer: after redirects it may be anybody's. */
  readonly origin: string;
  readonly wanted: string;

  constructor({ host, origin }: URL, status: number, wanted: string) {
    super('SOURCE_UNAUTHORIZED', `${host} answers HTTP ${status}`);
    this.origin = origin;
    this.wanted = wanted;
  }
}

/** Asks services that may be slow, broken or hostile: bounded redirects, retries, silence and length. */
export class SourceHttp {
  readonly #options: SourceHttpOptions;

  constructor(options: SourceHttpOptions = {}) {
    this.#options = options;
  }

  /** Asks, and hands the answer to `use`; what failed for the moment is asked again, from the beginning. */
  async get<T>(url: URL, headers: RequestHeaders, use: (answer: SourceAnswer) => Promise<T>): Promise<T> {
    const { attempts = 4 } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt(url, headers, use);
      } catch (error) {
        if (!(error instanceof HostingError) || !error.transient || attempt >= attempts) throw error;
        await this.#pause(attempt, error);
      }
    }
  }

  /** A whole small body. */
  bytes(url: URL, headers: RequestHeaders, maxBytes: number): Promise<SourceAnswer & { readonly bytes: Uint8Array }> {
    return this.get(url, headers, async (answer) => {
      const pieces: Uint8Array[] = [];
      let length = 0;
      for await (const piece of answer.body) {
        length += piece.length;
        if (length > maxBytes) {
          throw new HostingError('SOURCE_MALFORMED', `${answer.url.host} sends more than ${maxBytes} bytes`);
        }
        pieces.push(piece);
      }
      return { ...answer, bytes: new Uint8Array(Buffer.concat(pieces)) };
    });
  }

  async #attempt<T>(url: URL, headers: RequestHeaders, use: (answer: SourceAnswer) => Promise<T>): Promise<T> {
    const { idleTimeoutMs = 60_000, signal } = this.#options;
    const watch = new IdleWatch(idleTimeoutMs, url.host, signal);
    try {
      const { response, from } = await this.#follow(url, headers, watch.signal);
      await requireSuccess(response, from);
      return await use({ headers: response.headers, url: from, body: bodyOf(response, from.host, watch) });
    } finally {
      watch.end();
    }
  }

  async #follow(
    first: URL,
    headers: RequestHeaders,
    signal: AbortSignal,
  ): Promise<{ readonly response: Response; readonly from: URL }> {
    let url = first;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      this.#requireSecure(url);
      // Credentials are for the service that was named, never for where it sends us.
      const { authorization, ...others } = headers;
      const own = url.origin === first.origin && authorization !== undefined ? { authorization } : {};
      const response = await send(url, { ...others, ...own }, signal);
      if (!REDIRECTS.includes(response.status)) return { response, from: url };
      await response.body?.cancel().catch(() => undefined);
      const location = response.headers.get('location') ?? '';
      if (!URL.canParse(location, url.href)) {
        throw new HostingError('SOURCE_MALFORMED', `${url.host} redirects to no address`);
      }
      url = new URL(location, url);
    }
    throw new HostingError('SOURCE_MALFORMED', `${first.host} redirects more than ${MAX_REDIRECTS} times`);
  }

  #requireSecure(url: URL): void {
    if (url.protocol === 'https:') return;
    const allowed = this.#options.insecureHttp === true || isLoopback(url);
    if (url.protocol === 'http:' && allowed) return;
    throw new HostingError('INSECURE_ADDRESS', `${url.host} is named with ${url.protocol.slice(0, -1)}`);
  }

  async #pause(attempt: number, because: HostingError): Promise<void> {
    const { backoffMs = 500, onPause, signal } = this.#options;
    const span = backoffMs * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
    const pause = Math.min(MAX_PAUSE_MS, because.retryAfterMs ?? Math.round(span));
    onPause?.(pause, because);
    await delay(pause, undefined, { ...(signal && { signal }) }).catch(() => undefined);
    signal?.throwIfAborted();
  }
}

export function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** Ends a request that stays silent. */
class IdleWatch {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #follow = (): void => {
    this.#controller.abort(this.#outer?.reason);
  };

  constructor(milliseconds: number, host: string, outer: AbortSignal | undefined) {
    outer?.throwIfAborted();
    this.#outer = outer;
    this.#timer = setTimeout(() => {
      const message = `${host} is silent for ${milliseconds / 1000} s`;
      this.#controller.abort(new HostingError('SOURCE_TIMEOUT', message, { transient: true }));
    }, milliseconds);
    outer?.addEventListener('abort', this.#follow, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  heard(): void {
    this.#timer.refresh();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#follow);
    this.#controller.abort();
  }
}

async function send(url: URL, headers: RequestHeaders, signal: AbortSignal): Promise<Response> {
  try {
    // Digests and lengths are those of the bytes as they are sent.
    const all = { 'accept-encoding': 'identity', ...headers };
    return await fetch(url, { headers: all, redirect: 'manual', credentials: 'omit', signal });
  } catch (error) {
    signal.throwIfAborted();
    const message = `${url.host} cannot be reached${causeOf(error)}`;
    throw new HostingError('SOURCE_UNREACHABLE', message, { cause: error, transient: true });
  }
}

async function* bodyOf(response: Response, host: string, watch: IdleWatch): AsyncGenerator<Uint8Array> {
  const stated = response.headers.get('content-length');
  let length = 0;
  if (response.body) {
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        watch.heard();
        if (done) break;
        length += value.length;
        yield value;
        // What is done with a piece is no silence of the service.
        watch.heard();
      }
    } catch (error) {
      watch.signal.throwIfAborted();
      const message = `${host} broke the connection after ${length} bytes`;
      throw new HostingError('SOURCE_TRUNCATED', message, { cause: error, transient: true });
    } finally {
      void reader.cancel().catch(() => undefined);
    }
  }
  if (stated !== null && Number(stated) !== length && response.headers.get('content-encoding') === null) {
    const message = `${host} sent ${length} bytes, of ${stated}`;
    throw new HostingError('SOURCE_TRUNCATED', message, { transient: true });
  }
}

/** Names of system and TLS errors, such as ECONNREFUSED or DEPTH_ZERO_SELF_SIGNED_CERT. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  return typeof cause?.code === 'string' && /^[A-Z0-9_]{1,64}$/.test(cause.code) ? ` (${cause.code})` : '';
}

async function requireSuccess(response: Response, from: URL): Promise<void> {
  const { status, headers } = response;
  if (status === 200) return;
  await response.body?.cancel().catch(() => undefined);
  if (status === 401) throw new Unauthorized(from, status, headers.get('www-authenticate') ?? '');
  const wait = headers.get('retry-after') ?? '';
  const retryAfterMs = /^\d{1,9}$/.test(wait) ? Number(wait) * 1000 : undefined;
  const code = STATUS_CODES[status] ?? 'SOURCE_STATUS';
  const transient = TRANSIENT.includes(status);
  throw new HostingError(code, `${from.host} answers HTTP ${status}`, { transient, retryAfterMs });
}
