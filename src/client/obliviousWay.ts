import {
  encodeBinaryRequest,
  type BinaryPart,
  type ResponseHead,
  responseParser,
} from '../../attestation/channel/ohttp/bhttp.ts';
import {
  CHUNKED_REQUEST_TYPE,
  CHUNKED_RESPONSE_TYPE,
  ChunkOpener,
  sealChunked,
} from '../../attestation/channel/ohttp/chunked.ts';
import type { Sender } from '../../attestation/channel/ohttp/exchange.ts';
import {
  chooseKey,
  type GatewayKey,
  keyConfigOf,
  KEYS_TYPE,
  parseKeyConfigs,
} from '../../attestation/channel/ohttp/keyConfig.ts';
import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { Keyset } from '../../attestation/keyset.ts';
import { ClientError } from './errors.ts';
import { bodyChunks, isLoopback, readBody, rejection, serviceAt, type Fetch, type Incoming } from './http.ts';
import { MAX_RESPONSE_BYTES } from './sealedResponse.ts';

/** Requests are of a multiple of so many bytes before they are sealed: who carries them sees less of their size. */
const PAD_BYTES = 1024;
const MAX_KEYS_BYTES = 64 * 1024;
const KEYS_TIMEOUT_MS = 30_000;
/** What may be asked with keys that nothing vouches for: there is no secret in it, and what answers is judged. */
const EVIDENCE_PATH = /^\/v1\/attestation\?nonce=[0-9a-f]{64}$/;
const KEY_PROBLEM = 'https://iana.org/assignments/http-problem-types#ohttp-key';
/** Statuses whose responses have no body. */
const BODYLESS: readonly number[] = [204, 205, 304];

export interface ObliviousOptions {
  /** Address of the service, as `connect` takes it. */
  readonly service: string;
  /** Address of the relay, run by someone else than the service: https, unless it is this machine. */
  readonly relay: string;
  /** The platform's by default. It reaches the relay alone. */
  readonly fetch?: Fetch;
}

/**
 * Requests to a service through a relay (Chunked Oblivious HTTP): the relay sees who asks and nothing of what, the
 * service what is asked and nothing of who. Everything is sealed to the keys of a verified keyset. Only the question for
 * evidence may go to keys that the relay tells, as there is no keyset before its answer was judged.
 */
export class ObliviousWay {
  /** Seals to the keys that are trusted, or for evidence to those that the relay tells. */
  readonly fetch: Fetch;
  readonly #base: string;
  readonly #relay: string;
  readonly #send: Fetch;
  #verified: GatewayKey | undefined;

  constructor({ service, relay, fetch: send = (url, init) => fetch(url, init) }: ObliviousOptions) {
    this.#base = serviceAt(service, send, undefined).base;
    this.#relay = serviceAt(relay, send, undefined).base;
    if (!this.#relay.startsWith('https:') && !isLoopback(this.#relay)) {
      throw new TypeError('the address of a relay is https, or of this machine');
    }
    this.#send = send;
    this.fetch = async (url, init) => this.#fetch(url, init);
  }

  /** From now on `fetch` seals to the keys of this keyset, which was verified. */
  trust(keyset: Keyset): void {
    this.#verified = chooseKey([keyConfigOf(keyset)]);
  }

  /** Seals to the keys of one keyset that was verified. */
  to(keyset: Keyset): Fetch {
    const key = chooseKey([keyConfigOf(keyset)]);
    return (url, init) => this.#exchange(key, url, init);
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    const isEvidence = (init.method ?? 'GET') === 'GET' && EVIDENCE_PATH.test(this.#pathOf(url));
    // Evidence is asked for when keys may have changed: those that were verified may be gone.
    if (isEvidence) return this.#askEvidence(url, init);
    if (!this.#verified) throw new TypeError('there are no verified keys to seal to yet');
    return this.#exchange(this.#verified, url, init);
  }

  /** What the relay tells may be older than the keys of the gateway: it asks again once it hears so. */
  async #askEvidence(url: string, init: RequestInit): Promise<Response> {
    const key = await this.#toldKey(init.signal);
    try {
      return await this.#exchange(key, url, init);
    } catch (error) {
      if (!(error instanceof ClientError) || error.code !== 'KEYSET_CHANGED') throw error;
      const next = await this.#toldKey(init.signal);
      if (equalBytes(key.publicKey, next.publicKey)) throw error;
      return this.#exchange(next, url, init);
    }
  }

  /** A key that the relay tells. Nothing vouches for it. */
  async #toldKey(signal: AbortSignal | null | undefined): Promise<GatewayKey> {
    const limit = AbortSignal.timeout(KEYS_TIMEOUT_MS);
    const response = await this.#send(this.#relay, {
      ...CARRIED,
      method: 'GET',
      headers: { accept: KEYS_TYPE },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    if (response.status !== 200) throw await rejection(response);
    const encoded = await readBody(response, MAX_KEYS_BYTES);
    try {
      return chooseKey(parseKeyConfigs(encoded));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      throw new ClientError('BAD_ANSWER', 'the relay tells no key of a gateway', { cause: error });
    }
  }

  async #exchange(key: GatewayKey, url: string, init: RequestInit): Promise<Response> {
    const request = encodeBinaryRequest(
      { ...this.#control(url, init), ...contentOf(init), trailers: [] },
      PAD_BYTES,
    );
    const { body, sender } = await sealChunked(key, request);
    const response = await this.#send(this.#relay, {
      ...CARRIED,
      method: 'POST',
      headers: { 'content-type': CHUNKED_REQUEST_TYPE, incremental: '?1' },
      body: body as Uint8Array<ArrayBuffer>,
      ...(init.signal && { signal: init.signal }),
    });
    const type = response.headers.get('content-type')?.split(';')[0]?.trim();
    if (response.status !== 200 || type !== CHUNKED_RESPONSE_TYPE) throw await notCarried(response);
    return openResponse(sender, response, init.signal ?? undefined);
  }

  #control(url: string, { method = 'GET' }: RequestInit) {
    const { protocol, host } = new URL(this.#base);
    return { method, scheme: protocol.slice(0, -1), authority: host, path: this.#pathOf(url) };
  }

  #pathOf(url: string): string {
    if (!url.startsWith(`${this.#base}/`)) throw new TypeError(`${url} is of another service`);
    return url.slice(this.#base.length);
  }
}

/** What the relay gets to know of its caller besides the address: nothing. */
const CARRIED = {
  redirect: 'error',
  credentials: 'omit',
  referrerPolicy: 'no-referrer',
  cache: 'no-store',
} as const satisfies RequestInit;

function contentOf({ headers, body }: RequestInit) {
  const content = body ?? new Uint8Array(0);
  if (!(content instanceof Uint8Array)) throw new TypeError('a body is bytes here');
  return { headers: [...new Headers(headers)], content };
}

/** Relay or gateway refused it, which anybody on the way can do; only the service knows its keys. */
async function notCarried(response: Incoming): Promise<ClientError> {
  if (response.status === 200) return new ClientError('BAD_ANSWER', 'the response is not encapsulated');
  const { status } = response;
  const error = await rejection(response);
  const isKeys = error.message.includes(KEY_PROBLEM);
  return isKeys ? new ClientError('KEYSET_CHANGED', error.message, { status }) : error;
}

/** Opens a response up to its head. Its body throws `RESPONSE_REFUSED` where it is cut, altered or of another one. */
async function openResponse(
  sender: Sender,
  response: Incoming,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const parts = partsOf(sender, response, signal);
  const first = await parts.next();
  if (first.done === true || first.value.kind !== 'head') throw refused('the response has no head');
  const { status, headers } = first.value.head;
  const init = { status, headers: headers.map(([name, value]): [string, string] => [name, value]) };
  if (!BODYLESS.includes(status)) return new Response(contentStream(parts), init);
  for await (const part of parts) {
    if (part.kind === 'content') throw refused(`a response of ${status} has content`);
  }
  return new Response(null, init);
}

type Parts = AsyncGenerator<BinaryPart<ResponseHead>, undefined>;

function contentStream(parts: Parts): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        for (;;) {
          const { done, value } = await parts.next();
          if (done === true) {
            controller.close();
            return;
          }
          if (value.kind === 'content') {
            controller.enqueue(value.bytes);
            return;
          }
        }
      },
      async cancel() {
        await parts.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

async function* partsOf(sender: Sender, response: Incoming, signal: AbortSignal | undefined): Parts {
  const opener = new ChunkOpener(sender);
  const parser = responseParser();
  let received = 0;
  try {
    for await (const bytes of bodyChunks(response.body?.getReader(), signal)) {
      received += bytes.length;
      if (received > MAX_RESPONSE_BYTES) throw refused('the response is too large');
      for (const content of await opener.push(bytes)) yield* parser.push(content);
    }
    for (const content of await opener.finish()) yield* parser.push(content);
    yield* parser.finish();
  } catch (error) {
    if (error instanceof Refusal) throw refused(error.message, error);
    throw error;
  }
  return undefined;
}

function refused(message: string, cause?: Refusal): ClientError {
  return new ClientError('RESPONSE_REFUSED', message, { cause });
}
