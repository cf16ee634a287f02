import {
  Agent as PlainAgent,
  type IncomingMessage,
  request as plainRequest,
  type RequestOptions,
} from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { CHUNKED_REQUEST_TYPE } from '../../../attestation/channel/ohttp/chunked.ts';
import { GATEWAY_PATH, KEYS_TYPE, parseKeyConfigs } from '../../../attestation/channel/ohttp/keyConfig.ts';
import type { REQUEST_TYPE } from '../../../attestation/channel/ohttp/whole.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { isLoopback, serviceAt } from '../../client/http.ts';
import { RelayError } from './errors.ts';

/** How long the keys of the gateway are told without asking it again (ms): all callers hear the same meanwhile. */
const KEYS_MS = 60_000;
const KEYS_TIMEOUT_MS = 10_000;
const MAX_KEYS_BYTES = 64 * 1024;
/** Idle connections to the gateway end before the gateway ends them (ms). */
const IDLE_MS = 30_000;
/** Connections to the gateway; requests of all callers share them. */
const MAX_SOCKETS = 1024;

/** What an encapsulated request is sent with: everything else of its caller ends at the relay. */
export interface Carried {
  readonly type: typeof REQUEST_TYPE | typeof CHUNKED_REQUEST_TYPE;
  /** Bytes; undefined where they come as they are made. */
  readonly length: number | undefined;
  /** The caller wants it handed on as it comes. */
  readonly incremental: boolean;
  readonly body: Readable;
}

export interface GatewayLimits {
  /** Largest encapsulated request, bytes. */
  readonly bodyBytes: number;
  /** Longest time until the answer is at its end (ms). */
  readonly timeoutMs: number;
}

/** The gateway of one service: the only address that a relay sends anything to. */
export class RelayedGateway {
  readonly url: URL;
  readonly #limits: GatewayLimits;
  readonly #agent: PlainAgent;
  readonly #connect: typeof plainRequest;
  #keys: { readonly encoded: Promise<Uint8Array>; readonly until: number } | undefined;

  /** `address` is that of a service or of its gateway: https, or this machine. Throws a `TypeError` for another. */
  constructor(address: string, limits: GatewayLimits) {
    this.url = gatewayUrl(address);
    this.#limits = limits;
    const isTls = this.url.protocol === 'https:';
    const options = { keepAlive: true, timeout: IDLE_MS, maxSockets: MAX_SOCKETS };
    this.#agent = isTls ? new TlsAgent(options) : new PlainAgent(options);
    this.#connect = isTls ? tlsRequest : plainRequest;
  }

  /** Hands one request on while it comes. The answer's body comes as the gateway sends it. Nothing is tried twice. */
  async send({ type, length, incremental, body }: Carried, signal: AbortSignal): Promise<IncomingMessage> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(this.#limits.timeoutMs)]);
    const headers = {
      'content-type': type,
      ...(length !== undefined && { 'content-length': length }),
      ...(incremental && { incremental: '?1' }),
    };
    const { sent, answer } = this.#open({ method: 'POST', headers, signal: limit });
    const sending = pipeline(body, limitTo(this.#limits.bodyBytes), sent);
    try {
      // A gateway may refuse before it has read everything: its answer counts, then.
      const first = await Promise.race([answer, sending.then(() => answer)]);
      // It may have other keys by now than those that are told here.
      if (first.statusCode !== 200) this.#keys = undefined;
      return first;
    } catch (error) {
      sent.destroy();
      throw failureOf(error, signal);
    } finally {
      sending.catch(() => undefined);
    }
  }

  /** Its key configurations, as callers who verify nothing need them and ours need them to ask for evidence. */
  async keys(now: number): Promise<Uint8Array> {
    if (!this.#keys || now >= this.#keys.until) {
      const encoded = this.#fetchKeys();
      this.#keys = { encoded, until: now + KEYS_MS };
      encoded.catch(() => (this.#keys = undefined));
    }
    return this.#keys.encoded;
  }

  async #fetchKeys(): Promise<Uint8Array> {
    const signal = AbortSignal.timeout(KEYS_TIMEOUT_MS);
    try {
      const { sent, answer } = this.#open({ method: 'GET', headers: { accept: KEYS_TYPE }, signal });
      sent.end();
      const response = await answer;
      const encoded = await readAll(response);
      if (response.statusCode !== 200) {
        throw new RelayError('GATEWAY_UNFIT', `the gateway told no keys: HTTP ${response.statusCode ?? 0}`);
      }
      if (parseKeyConfigs(encoded).length === 0) {
        throw new RelayError('GATEWAY_UNFIT', 'the gateway told no keys that are known here');
      }
      return encoded;
    } catch (error) {
      throw failureOf(error);
    }
  }

  #open(options: RequestOptions) {
    const sent = this.#connect(this.url, { ...options, agent: this.#agent });
    const answer = new Promise<IncomingMessage>((resolve, reject) => {
      sent.once('response', resolve);
      sent.once('error', reject);
    });
    answer.catch(() => undefined);
    return { sent, answer };
  }

  close(): void {
    this.#agent.destroy();
  }
}

function gatewayUrl(address: string): URL {
  const url = new URL(serviceAt(address, fetch, undefined).base);
  if (url.protocol !== 'https:' && !isLoopback(url.href)) {
    throw new TypeError('the address of a gateway is https, unless it is of this machine');
  }
  if (!url.pathname.endsWith(GATEWAY_PATH)) url.pathname = url.pathname.replace(/\/$/, '') + GATEWAY_PATH;
  return url;
}

function limitTo(most: number): Transform {
  let length = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      length += chunk.length;
      if (length > most) done(new RelayError('BODY_TOO_LARGE', `the body has more than ${most} bytes`));
      else done(null, chunk);
    },
  });
}

async function readAll(response: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_KEYS_BYTES) {
      response.destroy();
      throw new RelayError('GATEWAY_UNFIT', 'the keys of the gateway are too large');
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** What happened, without a word of what was carried. */
function failureOf(error: unknown, signal?: AbortSignal): RelayError {
  if (error instanceof RelayError) return error;
  if (signal?.aborted) return new RelayError('STOPPING', 'the relay or its caller ended the request');
  if (error instanceof Refusal) return new RelayError('GATEWAY_UNFIT', 'what tells the keys is no gateway');
  const { name, code } = error as NodeJS.ErrnoException;
  if (name === 'AbortError' || name === 'TimeoutError') {
    return new RelayError('GATEWAY_TIMEOUT', 'the gateway did not answer in time');
  }
  if (code === 'ERR_STREAM_PREMATURE_CLOSE') {
    return new RelayError('BODY_INCOMPLETE', 'the request ended before its end', { cause: error });
  }
  return new RelayError('GATEWAY_UNREACHABLE', 'the gateway cannot be reached', { cause: error });
}
