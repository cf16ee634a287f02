import { concat } from '../../attestation/bytes/bytes.ts';
import { ClientError } from './errors.ts';
import type { ObliviousWay } from './obliviousWay.ts';

/** The part of `fetch` that the client uses. */
export type Fetch = (url: string, init: RequestInit) => Promise<Incoming>;

/** What the client reads of a response; a `Response` has it. */
export interface Incoming {
  readonly status: number;
  readonly headers: Pick<Headers, 'get'>;
  readonly body: { getReader(): BodyReader } | null;
}

export type BodyReader = Pick<ReadableStreamDefaultReader<Uint8Array>, 'read' | 'cancel'>;

/** A way to a service whose TLS key is compared with what verified evidence vouches for. */
export interface JudgedTransport {
  readonly fetch: Fetch;
  /** Called once evidence is accepted: SHA-256 of the TLS key in its keyset. Throws for another key. */
  judge(spki: Uint8Array | undefined): void;
}

export interface Service {
  /** Without a trailing slash. */
  readonly base: string;
  readonly fetch: Fetch;
  /** Sent as a bearer token, outside the seal. */
  readonly apiKey: string | undefined;
  /** Set where everything goes through a relay; `fetch` is its own then. */
  readonly oblivious?: ObliviousWay | undefined;
}

export interface Exchange {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** With query, from `/`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** `Authorization` of the caller's own client; only where the service has no key of the session. */
  readonly authorization?: string | undefined;
  /** Until the whole answer is read, milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes of a text outside the seal that is worth showing. */
const MAX_PROBLEM_BYTES = 4096;

/** The service at an address. Only http and https, without user name, query or fragment. */
export function serviceAt(address: string, fetch: Fetch, apiKey: string | undefined): Service {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw new TypeError(`${address} is not an address`);
  }
  const plain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!/^https?:$/.test(url.protocol) || !plain) {
    throw new TypeError('an address is http or https, without user name, query and fragment');
  }
  return { base: url.origin + url.pathname.replace(/\/+$/, ''), fetch, apiKey };
}

/** Whether an address is of this machine. */
export function isLoopback(address: string): boolean {
  const { hostname } = new URL(address);
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** Path and query as they go over the wire: what the seal repeats must be equal to it. */
export function wirePath(path: string): string {
  if (!path.startsWith('/') || path.startsWith('//')) throw new TypeError('a path starts with one slash');
  const { pathname, search } = new URL(path, 'http://service.invalid');
  return pathname + search;
}

/** Sends one request. Redirects are refused: they would lead away from the service that was asked for. */
export async function send(service: Service, exchange: Exchange): Promise<Incoming> {
  const { method, path, headers = {}, body, timeoutMs, signal } = exchange;
  const limit = AbortSignal.timeout(timeoutMs);
  const key = service.apiKey === undefined ? exchange.authorization : `Bearer ${service.apiKey}`;
  try {
    return await service.fetch(service.base + path, {
      method,
      headers: { ...headers, ...(key !== undefined && { authorization: key }) },
      redirect: 'error',
      // In a page: neither cookies, nor where it stands, nor a copy on its disk.
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
      cache: 'no-store',
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      ...(body ? { body: body as Uint8Array<ArrayBuffer> } : {}),
    });
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof ClientError) throw error;
    throw unreachable(service, error);
  }
}

function unreachable({ base }: Service, cause: unknown): ClientError {
  const late = cause instanceof Error && cause.name === 'TimeoutError';
  return new ClientError(
    'UNREACHABLE',
    late ? `${base} did not answer in time` : `${base} cannot be reached`,
    {
      cause,
    },
  );
}

/**
 * The chunks of a body, as they come. A broken connection is `UNREACHABLE`, what the caller ended has its reason. Whoever
 * wants no more cancels the reader: that ends a read that waits, too.
 */
export async function* bodyChunks(
  reader: BodyReader | undefined,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) yield part.value;
  } catch (error) {
    signal?.throwIfAborted();
    // Opened on the way: the seal says what is wrong.
    if (error instanceof ClientError) throw error;
    throw new ClientError('UNREACHABLE', 'the connection broke before the answer ended', { cause: error });
  } finally {
    void reader?.cancel().catch(() => undefined);
  }
}

/** The whole body, refused beyond `maxBytes`. */
export async function readBody({ body }: Incoming, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of bodyChunks(body?.getReader())) {
    total += chunk.length;
    if (total > maxBytes) throw new ClientError('BAD_ANSWER', `the answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return concat(...chunks);
}

/** The error of an answer that is not 200: its text is from anyone on the way. */
export async function rejection(response: Incoming): Promise<ClientError> {
  const { status } = response;
  const text = await problemText(response);
  return new ClientError('REQUEST_REJECTED', `HTTP ${status}: ${text}`, { status });
}

async function problemText(response: Incoming): Promise<string> {
  try {
    const body = await readBody(response, MAX_PROBLEM_BYTES);
    return printable(new TextDecoder().decode(body)) || 'no reason';
  } catch (error) {
    if (error instanceof ClientError) return 'no readable reason';
    throw error;
  }
}

/** Text of strangers on one line, without what a terminal would act on. */
function printable(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .slice(0, 300);
}
