import { concat, utf8 } from '../../attestation/bytes/bytes.ts';
import { MAX_FRAME_BYTES } from '../../attestation/channel/hpke.ts';
import { ClientError } from './errors.ts';
import type { Plaintext } from './sealedExchange.ts';

/** A call of `fetch` as the session takes it: sealed, or a page that anybody may read. */
export type FetchRequest =
  | ({ readonly kind: 'sealed' } & Plaintext)
  | {
      readonly kind: 'open';
      readonly path: string;
      readonly authorization: string | undefined;
      readonly signal: AbortSignal | undefined;
    };

/** Nonce, method, path and the frame are sealed with the body: far less than this. */
const MAX_BODY_BYTES = MAX_FRAME_BYTES - 64 * 1024;
/** What says where the JSON of a body ends, before raw tensors; under a seal, a parameter of the content type. */
export const JSON_LENGTH_HEADER = 'inference-header-content-length';
/** What a service tells everybody: nothing of the caller's is in such a request but the key. */
const OPEN = [
  /^\/v1\/models(\/[^/]+)?$/,
  /^\/v2(\/health\/(live|ready))?$/,
  /^\/v2\/models\/[^/]+(\/versions\/[^/]+)?(\/ready)?$/,
  /^\/(livez|readyz|openapi\.json)$/,
];

/**
 * Reads the arguments of a call of `fetch`. Refuses what goes elsewhere (`ORIGIN_REFUSED`), what is no request to a
 * model (`REQUEST_UNSUPPORTED`) and what cannot be sealed (`REQUEST_UNSEALABLE`) before anything is sent.
 */
export async function readFetchRequest(
  base: string,
  input: string | URL | Request,
  init: RequestInit | undefined,
): Promise<FetchRequest> {
  if (init?.body instanceof FormData) {
    throw new ClientError('REQUEST_UNSEALABLE', 'a form is no body that an API of the service takes');
  }
  const request = quickRequest(base, input, init) ?? toRequest(base, input, init);
  const path = pathBelow(base, request.url);
  const authorization = request.headers.get('authorization') ?? undefined;
  // That of a `Request` made here would end with it: it follows the caller's only while something holds it.
  const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined);
  if (request.method === 'GET' && isOpen(path)) return { kind: 'open', path, authorization, signal };
  if (request.method !== 'POST') {
    throw new ClientError('REQUEST_UNSUPPORTED', `${request.method} ${withoutQuery(path)} is not sealed`);
  }
  const contentType = typeOf(request.headers);
  const fresh = request.headers.get('vouchsafe-fresh') === '?1';
  return {
    kind: 'sealed',
    path,
    contentType,
    body: request.body instanceof Uint8Array ? request.body : await readStream(request.body),
    authorization,
    fresh,
    signal,
  };
}

/** What is read of a `Request`. */
interface Call extends Pick<Request, 'url' | 'method' | 'headers'> {
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
}

/**
 * What clients of an API send, a `POST` of text or bytes to an address, takes no `Request`: to make one and to read its
 * stream takes longer than to seal what is in it. Undefined for all else.
 */
function quickRequest(
  base: string,
  input: string | URL | Request,
  init: RequestInit | undefined,
): Call | undefined {
  if (input instanceof Request || init?.method !== 'POST') return undefined;
  const { body: given } = init;
  const isBytes = given instanceof Uint8Array;
  if (!isBytes && typeof given !== 'string') return undefined;
  const url = addressOf(base, input);
  if (url.username !== '' || url.password !== '') return undefined;
  // A copy, as a `Request` has one: the caller may write over its own.
  const body = isBytes ? new Uint8Array(given) : utf8(given);
  if (body.length > MAX_BODY_BYTES) throw tooLarge();
  return { url: url.href, method: 'POST', headers: new Headers(init.headers), body };
}

/** Streams are read whole before they are sealed. */
function toRequest(base: string, input: string | URL | Request, init: RequestInit | undefined): Request {
  const options = { ...(init?.body instanceof ReadableStream && { duplex: 'half' }), ...init, signal: null };
  if (input instanceof Request) return new Request(input, options);
  return new Request(addressOf(base, input), options);
}

function addressOf(base: string, input: string | URL): URL {
  return URL.canParse(input) ? new URL(input) : new URL(input, `${base}/`);
}

function pathBelow(base: string, address: string): string {
  const [own, url] = [new URL(base), new URL(address)];
  const folder = own.pathname.replace(/\/+$/, '');
  if (url.origin !== own.origin || !url.pathname.startsWith(`${folder}/`)) {
    throw new ClientError('ORIGIN_REFUSED', `${url.origin}${url.pathname} is not below ${base}`);
  }
  return url.pathname.slice(folder.length) + url.search;
}

function withoutQuery(path: string): string {
  return path.replace(/\?.*$/s, '');
}

function isOpen(path: string): boolean {
  return OPEN.some((pattern) => pattern.test(withoutQuery(path)));
}

/** JSON where nothing is said: `fetch` calls every text plain, and clients that set no type send JSON. */
function typeOf(headers: Headers): string {
  const type = headers.get('content-type') ?? 'application/json';
  if (/^multipart\//i.test(type)) {
    throw new ClientError('REQUEST_UNSEALABLE', 'a form is no body that an API of the service takes');
  }
  const length = headers.get(JSON_LENGTH_HEADER);
  if (length !== null) return `${type}; ${JSON_LENGTH_HEADER}=${length}`;
  return /^text\/plain\b/i.test(type) ? 'application/json' : type;
}

async function readStream(stream: ReadableStream<Uint8Array> | null): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  const reader = stream?.getReader();
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    const chunk: unknown = part.value;
    if (!(chunk instanceof Uint8Array)) {
      throw new ClientError('REQUEST_UNSEALABLE', 'a body is a stream of bytes');
    }
    total += chunk.length;
    if (total > MAX_BODY_BYTES) {
      await reader?.cancel();
      throw tooLarge();
    }
    chunks.push(chunk);
  }
  return concat(...chunks);
}

function tooLarge(): ClientError {
  return new ClientError('REQUEST_UNSEALABLE', `the body is larger than ${MAX_BODY_BYTES} bytes`);
}
