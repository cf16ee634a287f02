import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { CHUNKED_REQUEST_TYPE } from '../../../attestation/channel/ohttp/chunked.ts';
import { GATEWAY_PATH, KEYS_TYPE } from '../../../attestation/channel/ohttp/keyConfig.ts';
import { REQUEST_TYPE } from '../../../attestation/channel/ohttp/whole.ts';
import { RelayError } from './errors.ts';
import { type Carried, type GatewayLimits, RelayedGateway } from './gateway.ts';

const HEAD_MS = 10_000;
const KEEP_ALIVE_MS = 65_000;
const MAX_HEADERS = 64;
const MAX_HEADER_BYTES = 16 * 1024;
/** Connections beyond the requests that are carried. */
const SPARE_CONNECTIONS = 1024;
const STOP_MS = 10_000;

export interface RelaySettings {
  /** Address of the service or of its gateway: https, or this machine. */
  readonly gateway: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Certificate chain and private key in PEM; undefined where TLS ends before the relay. */
  readonly tls?: { readonly cert: Uint8Array; readonly key: Uint8Array } | undefined;
  readonly limits: GatewayLimits & {
    /** Requests that are carried at once. */
    readonly concurrency: number;
  };
  /** Told what went wrong, without a word of who asked. */
  readonly onProblem?: (problem: RelayError) => void;
}

export const RELAY_LIMITS: RelaySettings['limits'] = {
  bodyBytes: 40 * 1024 * 1024,
  timeoutMs: 600_000,
  concurrency: 1024,
};

export interface RunningRelay {
  /** Without a trailing slash. */
  readonly url: string;
  /** Takes nothing new, waits for what is carried up to the timeout, then ends it. */
  stop(timeoutMs?: number): Promise<void>;
}

/** Starts a relay. Throws a `TypeError` for an address that is none, or an error of the system. */
export async function startRelay(settings: RelaySettings): Promise<RunningRelay> {
  const relay = new Relay(settings);
  await relay.listen();
  return relay;
}

class Relay implements RunningRelay {
  readonly #settings: RelaySettings;
  readonly #gateway: RelayedGateway;
  readonly #server: Server;
  readonly #carried = new Set<AbortController>();
  #stopping = false;
  url = '';

  constructor(settings: RelaySettings) {
    this.#settings = settings;
    this.#gateway = new RelayedGateway(settings.gateway, settings.limits);
    const { timeoutMs, concurrency } = settings.limits;
    const options = {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: Math.min(HEAD_MS, timeoutMs),
      requestTimeout: timeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
    };
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      void this.#answer(request, response);
    };
    const { tls } = settings;
    this.#server = tls
      ? createTlsServer(
          { ...options, cert: Buffer.from(tls.cert), key: Buffer.from(tls.key), minVersion: 'TLSv1.3' },
          answer,
        )
      : createServer(options, answer);
    this.#server.maxHeadersCount = MAX_HEADERS;
    this.#server.maxConnections = concurrency + SPARE_CONNECTIONS;
  }

  async listen(): Promise<void> {
    const { host, port, tls } = this.#settings;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, resolve);
    });
    const { port: taken } = this.#server.address() as AddressInfo;
    const authority = host.includes(':') ? `[${host}]` : host;
    this.url = `${tls ? 'https' : 'http'}://${authority}:${taken}`;
  }

  async stop(timeoutMs = STOP_MS): Promise<void> {
    this.#stopping = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const end = setTimeout(() => {
      for (const controller of this.#carried) controller.abort();
      this.#server.closeAllConnections();
    }, timeoutMs);
    await closed;
    clearTimeout(end);
    this.#gateway.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      allowPages(response);
      await this.#route(request, response);
    } catch (error) {
      const failure =
        error instanceof RelayError
          ? error
          : new RelayError('INTERNAL', 'the relay failed', { cause: error });
      if (failure.status >= 500) this.#settings.onProblem?.(failure);
      refuse(response, failure);
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = ''] = (request.url ?? '').split('?', 1);
    if (path !== '/' && path !== GATEWAY_PATH) throw new RelayError('NOT_FOUND', 'there is nothing here');
    if (this.#stopping) throw new RelayError('STOPPING', 'the relay is stopping');
    switch (request.method) {
      case 'POST':
        return this.#carry(request, response);
      case 'GET':
        return this.#tellKeys(response);
      case 'OPTIONS':
        response.writeHead(204, { 'access-control-max-age': '86400' }).end();
        return undefined;
      case undefined:
      default:
        response.setHeader('allow', 'GET, POST, OPTIONS');
        throw new RelayError('METHOD_NOT_ALLOWED', 'a relay has other methods');
    }
  }

  async #tellKeys(response: ServerResponse): Promise<void> {
    const encoded = await this.#gateway.keys(performance.now());
    response.writeHead(200, {
      'content-type': KEYS_TYPE,
      'content-length': encoded.length,
      'cache-control': 'public, max-age=60',
    });
    response.end(encoded);
  }

  async #carry(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { bodyBytes, concurrency } = this.#settings.limits;
    const carried = carriedOf(request, bodyBytes);
    if (this.#carried.size >= concurrency) {
      response.setHeader('retry-after', '1');
      throw new RelayError('OVERLOADED', `${concurrency} requests are carried`);
    }
    const controller = new AbortController();
    response.once('close', () => {
      controller.abort();
    });
    this.#carried.add(controller);
    try {
      const answer = await this.#gateway.send(carried, controller.signal);
      response.writeHead(answer.statusCode ?? 502, answerHeaders(answer));
      // Each piece is handed on as it comes.
      response.flushHeaders();
      await pipeline(answer, response).catch(() => response.destroy());
    } finally {
      this.#carried.delete(controller);
    }
  }
}

/** Any page may ask: a relay knows no cookies and no callers, and what it carries is sealed. */
function allowPages(response: ServerResponse): void {
  response.setHeader('access-control-allow-origin', '*');
  response.setHeader('access-control-allow-methods', 'GET, POST');
  response.setHeader('access-control-allow-headers', 'content-type, incremental');
}

/** What is kept of a request. Throws where it is obviously none for a gateway. */
function carriedOf(request: IncomingMessage, bodyBytes: number): Carried {
  const { headers } = request;
  const type = (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type !== REQUEST_TYPE && type !== CHUNKED_REQUEST_TYPE) {
    throw new RelayError('CONTENT_TYPE_UNSUPPORTED', 'the body is no encapsulated request');
  }
  const stated = headers['content-length'];
  const length = stated === undefined ? undefined : Number(stated);
  if (length === 0 || (length === undefined && headers['transfer-encoding'] === undefined)) {
    throw new RelayError('BODY_MISSING', 'the request has no body');
  }
  if (length !== undefined && length > bodyBytes) {
    throw new RelayError('BODY_TOO_LARGE', `the body has more than ${bodyBytes} bytes`);
  }
  return { type, length, incremental: headers['incremental'] === '?1', body: request };
}

/** What is kept of an answer: how to read it, and when to ask again. */
function answerHeaders({ headers }: IncomingMessage): OutgoingHttpHeaders {
  const { 'content-type': type, 'content-length': length, 'retry-after': retryAfter, incremental } = headers;
  return {
    'cache-control': 'no-store',
    ...(type !== undefined && { 'content-type': type }),
    ...(length !== undefined && { 'content-length': length }),
    ...(retryAfter !== undefined && { 'retry-after': retryAfter }),
    ...(incremental !== undefined && { incremental }),
  };
}

function refuse(response: ServerResponse, { code, message, status, advice }: RelayError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (response.destroyed) return;
  const body = Buffer.from(JSON.stringify({ error: { code, message, advice } }));
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': body.length,
    // What is left of the body would be read as the next request.
    connection: 'close',
  });
  response.end(body);
}
