import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isIP, type AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { serviceAt } from '../../client/http.ts';
import { giveFailure, giveWhole } from './answer.ts';
import { failureOf, ProxyError } from './errors.ts';
import { ask, noUpstream } from './exchange.ts';
import { answerInference } from './inference.ts';
import { callerKey, requireProgram, targetOf, type Target } from './request.ts';
import { DEFAULT_LIMITS, type ProxyLimits, type ProxySettings } from './settings.ts';
import { Upstream, type UpstreamStatus } from './upstream.ts';

const MAX_HEADERS = 100;
const MAX_HEADER_BYTES = 32 * 1024;
const HEAD_MS = 10_000;
const KEEP_ALIVE_MS = 65_000;
/** Nothing goes either way for so long: longer than a session waits for an answer. */
const SILENCE_MS = 15 * 60_000;
const SPARE_CONNECTIONS = 256;
const DRAIN_STEP_MS = 20;
/** How long a start waits for the evidence of all upstreams, before it says what it has. */
const FIRST_MS = 15_000;

/** What `/status` says. No content, no keys of callers. */
export interface ProxyStatus {
  readonly ready: boolean;
  readonly stream: string;
  readonly archive: boolean;
  readonly redaction: string | undefined;
  readonly inFlight: number;
  readonly upstreams: readonly UpstreamStatus[];
}

export interface RunningProxy {
  /** Without a trailing slash. */
  readonly url: string;
  readonly status: ProxyStatus;
  /** Takes nothing new, waits for what is in flight, then ends it. */
  stop(timeoutMs?: number): Promise<void>;
}

/** What requests share. */
export interface ProxyContext {
  readonly settings: ProxySettings;
  readonly limits: ProxyLimits;
  readonly upstreams: readonly Upstream[];
}

/**
 * Listens, and asks each upstream for evidence. It answers while none is accepted, too: with the reason. Throws an
 * error of the system where it cannot listen, and a `TypeError` for an address that is none.
 */
export async function startProxy(settings: ProxySettings): Promise<RunningProxy> {
  const limits = { ...DEFAULT_LIMITS, ...settings.limits };
  for (const url of settings.upstreams) serviceAt(url, fetch, undefined);
  const upstreams = settings.upstreams.map((url) => new Upstream(url, { ...settings, limits }));
  const proxy = new ProxyServer({ settings, limits, upstreams });
  await proxy.listen(settings.host ?? '127.0.0.1', settings.port ?? 0);
  const decided = Promise.all(upstreams.map((upstream) => upstream.start()));
  const enough = new AbortController();
  await Promise.race([decided, delay(FIRST_MS, undefined, { signal: enough.signal }).catch(() => undefined)]);
  enough.abort();
  return proxy;
}

export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

class ProxyServer implements RunningProxy {
  readonly #context: ProxyContext;
  readonly #server: Server;
  readonly #inFlight = new Map<ServerResponse, AbortController>();
  #isLoopback = true;
  #isStopping = false;
  #url = '';

  constructor(context: ProxyContext) {
    this.#context = context;
    this.#server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: HEAD_MS,
        requestTimeout: context.limits.receiveMs,
        keepAliveTimeout: KEEP_ALIVE_MS,
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.maxHeadersCount = MAX_HEADERS;
    this.#server.maxConnections = context.limits.concurrency + SPARE_CONNECTIONS;
  }

  get url(): string {
    return this.#url;
  }

  get status(): ProxyStatus {
    const { upstreams, settings } = this.#context;
    return {
      ready: upstreams.some(({ isAccepted }) => isAccepted),
      stream: settings.stream ?? 'verified',
      archive: settings.archive !== undefined,
      redaction: settings.redactor?.name,
      inFlight: this.#inFlight.size,
      upstreams: upstreams.map(({ status }) => status),
    };
  }

  async listen(host: string, port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, resolve);
    });
    this.#isLoopback = isLoopbackHost(host);
    const { port: taken } = this.#server.address() as AddressInfo;
    this.#url = `http://${host.includes(':') ? `[${host}]` : host}:${taken}`;
  }

  async stop(timeoutMs = 30_000): Promise<void> {
    this.#isStopping = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const end = performance.now() + timeoutMs;
    while (this.#inFlight.size > 0 && performance.now() < end) await delay(DRAIN_STEP_MS);
    for (const controller of this.#inFlight.values()) controller.abort();
    for (const upstream of this.#context.upstreams) upstream.stop();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url = '/', method = 'GET' } = request;
    const gone = new AbortController();
    response.once('close', () => {
      this.#inFlight.delete(response);
      gone.abort();
    });
    response.setHeader('x-content-type-options', 'nosniff');
    response.setTimeout(SILENCE_MS, () => response.destroy());
    try {
      requireProgram(request, this.#isLoopback);
      await this.#serve(targetOf(method, url), request, response, gone);
    } catch (error) {
      this.#fail(response, url, error, gone.signal);
    } finally {
      // What is left of a body would be read as the next request.
      if (!request.complete) request.resume();
    }
  }

  async #serve(
    target: Target,
    request: IncomingMessage,
    response: ServerResponse,
    gone: AbortController,
  ): Promise<void> {
    switch (target.kind) {
      case 'inference':
        this.#enter(response, gone);
        return answerInference(this.#context, target, request, response, gone.signal);
      case 'open':
        return this.#open(target.path, request, response, gone.signal);
      case 'status':
        sendJson(response, 200, this.status);
        return;
      case 'live':
        sendJson(response, 200, { live: true });
        return;
      case 'ready':
        if (this.#isStopping) throw new ProxyError('STOPPING', 'the proxy is stopping');
        if (!this.status.ready) throw noUpstream(this.#context.upstreams);
        sendJson(response, 200, { ready: true });
        return;
    }
  }

  #enter(response: ServerResponse, gone: AbortController): void {
    if (this.#isStopping) throw new ProxyError('STOPPING', 'the proxy is stopping');
    const { concurrency } = this.#context.limits;
    if (this.#inFlight.size >= concurrency) {
      throw new ProxyError('OVERLOADED', `${concurrency} requests are in flight`, { retryAfter: 1 });
    }
    this.#inFlight.set(response, gone);
  }

  /** What a service tells everybody, of the upstream that is asked first. Nothing vouches for it: receipts do. */
  async #open(
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const { upstreams, settings } = this.#context;
    const key = callerKey(request);
    const pin = { apiKey: settings.apiKey ?? key, conversation: undefined };
    const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
    const { response: answer } = await ask(
      upstreams,
      pin,
      { path, init: { headers, signal } },
      settings.onEvent,
    );
    const body = new Uint8Array(await answer.arrayBuffer());
    giveWhole(answer, body, undefined, { path, response, headers: {}, restoration: undefined });
  }

  #fail(response: ServerResponse, path: string, error: unknown, gone: AbortSignal): void {
    if (gone.aborted || response.headersSent) {
      response.destroy();
      if (gone.aborted) return;
    }
    const failure = failureOf(error);
    const { onEvent } = this.#context.settings;
    if (failure.code === 'INTERNAL') onEvent?.({ kind: 'fault', error });
    const { status, code, message } = failure;
    onEvent?.({ kind: 'failure', path: path.split('?')[0] ?? '', status, code, message });
    if (!response.headersSent) giveFailure(response, path, failure);
  }
}

function sendJson(response: ServerResponse, status: number, value: object): void {
  const body = Buffer.from(JSON.stringify(value));
  response
    .writeHead(status, {
      'content-type': 'application/json',
      'content-length': body.length,
      'cache-control': 'no-store',
    })
    .end(body);
}
