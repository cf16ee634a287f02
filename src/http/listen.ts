import {
  createServer,
  type RequestListener,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { createApp } from './app.ts';
import type { Config } from '../config/schema.ts';
import { stackFrames } from './logging.ts';
import type { Service } from './service.ts';
import { type TlsParts, TlsServer } from './tls.ts';

/** Longest time for the head of a request: slow senders hold no connection. */
const HEAD_MS = 10_000;
const KEEP_ALIVE_MS = 65_000;
/** How often slow senders are looked for. */
const CHECK_MS = 2_000;
const MAX_HEADERS = 100;
/** Connections beyond the places: those that are idle, and those that ask for what needs no place. */
const SPARE_CONNECTIONS = 4096;
/** How often a stop looks whether requests are still in flight. */
const DRAIN_STEP_MS = 20;

type HttpServer = Server | TlsServer['server'];

/** A server that listens. */
export interface Listening {
  /** 0 where it listens on a Unix socket. */
  readonly port: number;
  /** Lets nobody in any more, waits for requests in flight up to the timeout, then ends them. */
  readonly drain: (timeoutMs: number) => Promise<void>;
}

/** Most connections of one door; more are closed at once. */
export function maxConnections({ concurrency, queue }: Config['limits']): number {
  return SPARE_CONNECTIONS + concurrency + queue;
}

/** What a server needs to know of the service behind it. */
export type Door = Pick<Service, 'config' | 'admission' | 'lifetimes'>;

/** Answers the whole API: at the address of the configuration, where TLS may end, or on a Unix socket. */
export function listen(service: Service, socket?: string): Promise<Listening> {
  const { tlsKey, vouching, log } = service;
  const tls = tlsKey && {
    key: tlsKey,
    evidence: () => (vouching.hasHead ? vouching.head.digest : undefined),
    onFailure: (error: unknown) => {
      log.error('there is no new TLS certificate', { frames: stackFrames(error) });
    },
  };
  return listenWith(service, createApp(service), socket === undefined ? { tls } : { socket });
}

/** Where a server listens: on the Unix socket, else at the address of the configuration. */
export interface Place {
  readonly socket?: string;
  /** Undefined where TLS does not end here. */
  readonly tls?: TlsParts | undefined;
}

export async function listenWith(
  service: Door,
  app: RequestListener,
  { socket, tls }: Place = {},
): Promise<Listening> {
  const { server: address, limits } = service.config;
  const options: ServerOptions = {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: Math.min(HEAD_MS, limits.requestTimeoutMs),
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: CHECK_MS,
  };
  const answer: RequestListener = (request, response) => {
    if (service.admission.isClosed) response.setHeader('connection', 'close');
    app(request, response);
  };
  const server = tls ? (await TlsServer.create(options, answer, tls)).server : createServer(options, answer);
  server.maxHeadersCount = MAX_HEADERS;
  server.maxConnections = maxConnections(limits);
  server.on('clientError', answerClientError);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if (socket === undefined) server.listen(address.port, address.host, resolve);
    else server.listen(socket, resolve);
  });
  const bound = server.address();
  const port = typeof bound === 'string' ? 0 : (bound as AddressInfo).port;
  return { port, drain: (timeoutMs) => drain(service, server, timeoutMs) };
}

const STATUSES: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** What is not HTTP gets a status and no more. */
function answerClientError(
  error: NodeJS.ErrnoException,
  socket: Socket & { _httpMessage?: ServerResponse },
): void {
  const status = STATUSES[error.code ?? ''] ?? '400 Bad Request';
  if (!socket.writable || error.code === 'ECONNRESET' || socket._httpMessage?.headersSent) {
    socket.destroy();
    return;
  }
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

async function drain(service: Door, server: HttpServer, timeoutMs: number): Promise<void> {
  service.admission.close();
  const closed = new Promise<void>((resolve) =>
    server.close(() => {
      resolve();
    }),
  );
  server.closeIdleConnections();
  const end = performance.now() + timeoutMs;
  while (service.lifetimes.size > 0 && performance.now() < end) await delay(DRAIN_STEP_MS);
  for (const lifetime of service.lifetimes) lifetime.abort('stopping');
  // What was ended still gets its receipt and its answer.
  const grace = performance.now() + HEAD_MS;
  while (service.lifetimes.size > 0 && performance.now() < grace) await delay(DRAIN_STEP_MS);
  server.closeAllConnections();
  await closed;
}
