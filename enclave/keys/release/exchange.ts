import { concat } from '../../../attestation/bytes/bytes.ts';
import { JsonError, parseStrictJson } from '../../../attestation/json/strict.ts';
import { ReleaseError } from './errors.ts';

/** The part of `fetch` that is used here. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** A service that releases keys. Nothing that it says is believed before it is judged. */
export interface KeyService {
  /** http or https, without query. */
  readonly address: string;
  /** Sent as a bearer token. */
  readonly apiKey?: string | undefined;
  readonly fetch?: Fetch | undefined;
  /** Until the whole answer is read; 30 seconds by default. */
  readonly timeoutMs?: number | undefined;
}

export interface Exchange {
  readonly method: 'GET' | 'POST';
  /** Below the address, from `/`. */
  readonly path: string;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Most bytes of the answer. */
  readonly maxBytes: number;
}

export interface Answered {
  readonly headers: Headers;
  readonly body: Uint8Array;
}

const TIMEOUT_MS = 30_000;

/**
 * One request. Redirects are refused: they would lead away from the service that the operator named. An answer other
 * than 200 is a refusal, and of its body nothing is read: who answers could write what it likes into our log.
 */
export async function exchange(service: KeyService, request: Exchange): Promise<Answered> {
  const { apiKey, fetch: send = globalThis.fetch, timeoutMs = TIMEOUT_MS } = service;
  const { method, path, contentType, headers, body, maxBytes } = request;
  const address = baseOf(service.address);
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await send(address + path, {
      method,
      headers: {
        ...(contentType !== undefined && { 'content-type': contentType }),
        ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
        ...headers,
      },
      redirect: 'error',
      signal,
      ...(body && { body: body as Uint8Array<ArrayBuffer> }),
    });
    if (response.status !== 200) {
      void response.body?.cancel().catch(() => undefined);
      throw new ReleaseError('REFUSED', `${address}${path} answered ${response.status}`);
    }
    return { headers: response.headers, body: await readBody(response, maxBytes) };
  } catch (error) {
    if (error instanceof ReleaseError) throw error;
    const late = signal.aborted ? `did not answer within ${timeoutMs} ms` : 'cannot be reached';
    throw new ReleaseError('UNREACHABLE', `${address} ${late}`, { cause: error });
  }
}

/** The body as JSON without duplicate names. */
export function readJson(body: Uint8Array, what: string): unknown {
  try {
    return parseStrictJson(body);
  } catch (error) {
    if (error instanceof JsonError) throw new ReleaseError('BAD_ANSWER', `${what} ${error.message}`);
    throw error;
  }
}

function baseOf(address: string): string {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  const isPlain = url?.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!url || !isPlain || !/^https?:$/.test(url.protocol)) {
    throw new ReleaseError(
      'INSECURE_ADDRESS',
      'an address is http or https, without user name, query and fragment',
    );
  }
  const isLocal =
    url.hostname === 'localhost' || url.hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(url.hostname);
  if (url.protocol === 'http:' && !isLocal) {
    throw new ReleaseError('INSECURE_ADDRESS', `${url.origin} is plain HTTP to another machine`);
  }
  return url.origin + url.pathname.replace(/\/+$/, '');
}

async function readBody(response: Response, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  if (!response.body) return new Uint8Array(0);
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return concat(...chunks);
      total += value.length;
      if (total > maxBytes)
        throw new ReleaseError('BAD_ANSWER', `the answer has more than ${maxBytes} bytes`);
      chunks.push(value);
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}
