import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import OpenAI from 'openai';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { startProxy, type RunningProxy } from '../../../src/gateway/proxy/proxy.ts';
import type { ProxyEvent, ProxySettings } from '../../../src/gateway/proxy/settings.ts';
import type { TestService } from '../../support/service.ts';
import { NOW } from '../../support/world.ts';

const TEMPLATE = '{% for m in messages %}{{ m.content }} {% endfor %}';

/** Adds a model that chats to the fake engine of a service: it repeats what it was told. */
export function withChat(service: TestService): TestService {
  const { models } = service.engine;
  const chatTemplate = { template: TEMPLATE, bosToken: undefined, eosToken: undefined };
  models.set('chat', { ...models.get('fake')!, id: 'chat', chatTemplate });
  return service;
}

export interface TestProxy extends RunningProxy {
  readonly events: ProxyEvent[];
  readonly client: OpenAI;
}

const running: RunningProxy[] = [];

export async function stopProxies(): Promise<void> {
  await Promise.all(running.splice(0).map((proxy) => proxy.stop(0)));
}

export async function startTestProxy(
  upstreams: readonly string[],
  changes: Partial<ProxySettings> = {},
): Promise<TestProxy> {
  const events: ProxyEvent[] = [];
  const proxy = await startProxy({
    upstreams,
    judging: { policy: SIMULATED_POLICY, crypto: nodeCrypto, now: () => NOW },
    onEvent: (event) => events.push(event),
    ...changes,
  });
  running.push(proxy);
  const client = new OpenAI({ apiKey: 'any', baseURL: `${proxy.url}/v1`, maxRetries: 0 });
  return Object.assign(proxy, { events, client });
}

/** What a box between proxy and service may do to one answer; undefined lets it through. */
export type Alter = (path: string, status: number, body: Buffer) => Buffer | number | 'cut' | undefined;

/** A box on the way that passes everything on, as a whole, and alters what it likes. */
export interface MiddleBox {
  readonly url: string;
  /** Method and path of each request. */
  readonly requests: string[];
  /** Every byte that came from the caller, headers included. */
  readonly received: string[];
  target: string;
  alter: Alter;
  stop(): Promise<void>;
}

function without<T extends object>(headers: T, ...names: readonly string[]): Partial<T> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name))) as Partial<T>;
}

export async function startBox(target: string): Promise<MiddleBox> {
  const server: Server = createServer((request, response) => {
    void pass(request).then(
      ({ status, headers, body }) => {
        const altered = box.alter(request.url ?? '/', status, body);
        if (altered === 'cut') response.destroy();
        else if (typeof altered === 'number') response.writeHead(altered).end();
        else {
          const content = altered ?? body;
          response.writeHead(status, { ...headers, 'content-length': content.length }).end(content);
        }
      },
      () => response.destroy(),
    );
  });
  const pass = async (request: IncomingMessage) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    box.requests.push(`${request.method} ${request.url?.split('?')[0]}`);
    box.received.push(JSON.stringify(request.headers), Buffer.concat(chunks).toString('latin1'));
    const path = request.url ?? '/';
    const headers = without(request.headers, 'host', 'connection', 'content-length');
    const answer = await fetch(box.target + path, {
      method: request.method!,
      headers: headers as Record<string, string>,
      ...(chunks.length > 0 && { body: Buffer.concat(chunks) }),
    });
    const body = Buffer.from(await answer.arrayBuffer());
    const kept = without(Object.fromEntries(answer.headers), 'transfer-encoding');
    return { status: answer.status, headers: kept, body };
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const box: MiddleBox = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    received: [],
    target,
    alter: () => undefined,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return box;
}

/** What an aborted or a refused call throws. */
export async function thrownBy(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}
