import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { concat } from '../../../attestation/bytes/bytes.ts';
import { encodeKeyConfigs, GATEWAY_PATH, keyConfigOf } from '../../../attestation/channel/ohttp/keyConfig.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { openTlsKeys } from '../../../enclave/keys/tls/tlsKeys.ts';
import { connect, type ConnectOptions } from '../../../src/client/connect.ts';
import { ClientError } from '../../../src/client/errors.ts';
import type { Fetch } from '../../../src/client/http.ts';
import { RelayError } from '../../../src/gateway/relay/errors.ts';
import {
  RELAY_LIMITS,
  type RelaySettings,
  type RunningRelay,
  startRelay,
} from '../../../src/gateway/relay/relay.ts';
import { gatewayKey, innerPost, openAnswer, postSealed, sealInner } from '../../support/oblivious.ts';
import { issuedClaims, startTestService, type TestService, until } from '../../support/service.ts';
import { makeKeyring, NOW } from '../../support/world.ts';

const relays: RunningRelay[] = [];
const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(relays.splice(0).map((relay) => relay.stop(0)));
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

async function relayTo(gateway: string, changes: Partial<RelaySettings> = {}): Promise<RunningRelay> {
  const relay = await startRelay({ gateway, host: '127.0.0.1', port: 0, limits: RELAY_LIMITS, ...changes });
  relays.push(relay);
  return relay;
}

const EMBED = { path: '/v1/embeddings', body: '{"model":"fake","input":"hello"}' };
const STREAM = {
  path: '/v1/chat/completions',
  body: '{"model":"chat","messages":[{"role":"user","content":"a b c"}],"stream":true}',
};

/** A service with a chat model, a relay before it, and a session over the relay. */
async function session(changes: Partial<ConnectOptions> = {}) {
  const service = await startTestService();
  const chatTemplate = {
    template: '{% for m in messages %}{{ m.content }}{% endfor %}',
    bosToken: '',
    eosToken: '',
  };
  service.engine.models.set('chat', { ...service.engine.models.get('fake')!, id: 'chat', chatTemplate });
  const relay = await relayTo(service.url);
  const opened = await connect(service.url, { ...optionsOf(relay), ...changes });
  return { service, relay, session: opened };
}

function optionsOf(relay: RunningRelay): ConnectOptions {
  return { policy: SIMULATED_POLICY, crypto: nodeCrypto, now: () => NOW, relay: relay.url };
}

async function codeOf(step: Promise<unknown>): Promise<string> {
  const error: unknown = await step.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof ClientError || error instanceof RelayError) return error.code;
  throw new Error('no refusal', { cause: error });
}

describe('a session over a relay', () => {
  test('embeds, chats and streams, and the receipts verify', async () => {
    const { service, session: over } = await session();
    const answer = await over.send(EMBED);
    expect([answer.status, (await over.verify(answer)).verdict.decision]).toEqual([200, 'accepted']);
    const plain = await over.send({ ...STREAM, body: STREAM.body.replace('true', 'false') });
    expect((await over.verify(plain)).verdict.decision).toBe('accepted');
    const stream = await over.stream(STREAM);
    const seen: string[] = [];
    for await (const chunk of stream) seen.push(Buffer.from(chunk).toString());
    expect([seen.length > 3, seen.at(-1)]).toEqual([true, '[DONE]']);
    expect((await over.verify(await stream.finish())).verdict.decision).toBe('accepted');
    expect(issuedClaims(service).map(({ channel }) => channel)).toEqual(['hpke', 'hpke', 'hpke']);
    expect(await over.models()).toMatchObject([{ id: 'fake' }, { id: 'chat' }]);
  });

  test('its fetch is one for any client', async () => {
    const { session: over } = await session();
    const response = await over.fetch(`${over.baseURL}/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: EMBED.body,
    });
    expect([response.status, response.headers.get('vouchsafe-verified')]).toEqual([200, '?1']);
  });

  test('goes nowhere but to the relay, and shows it nothing', async () => {
    const seen: string[] = [];
    const carried: Fetch = (url, init) => {
      seen.push(url, JSON.stringify(init.headers ?? {}));
      if (init.body) seen.push(Buffer.from(init.body as Uint8Array).toString('latin1'));
      return fetch(url, init);
    };
    const { relay, service, session: over } = await session({ fetch: carried, apiKey: 'secret-key' });
    await over.verify(await over.send(EMBED));
    const text = seen.join('\n');
    expect(seen.filter((line) => /^https?:/.test(line)).every((url) => url === relay.url)).toBe(true);
    for (const hidden of ['secret-key', 'hello', '/v1/', 'bearer', service.url])
      expect(text).not.toContain(hidden);
  });

  test('a stream comes as it is made', async () => {
    const { service, session: over } = await session();
    service.engine.held = true;
    const pending = over.stream(STREAM);
    await until(() => service.engine.calls > 0);
    service.engine.release();
    const stream = await pending;
    await stream.finish();
    expect(stream.status).toBe(200);
  });

  test('goes on after the keys changed, with evidence for the new ones', async () => {
    const { service, session: over } = await session();
    await service.world.vouching.rotateKeys();
    await service.world.vouching.rotateKeys();
    const answer = await over.send(EMBED);
    expect([answer.status, over.document.keyset.generation]).toEqual([200, 2]);
    expect((await over.verify(answer)).verdict.decision).toBe('accepted');
  });

  test('needs https but on this machine, and no TLS key of the service', async () => {
    const options = { policy: SIMULATED_POLICY, relay: 'http://relay.example' };
    await expect(connect('https://service.example', options)).rejects.toThrow(TypeError);
  });
});

describe('a hostile relay', () => {
  /** Changes what the relay answers to encapsulated requests. */
  function tampering(change: (body: Uint8Array) => Uint8Array): { fetch: Fetch; armed: boolean } {
    const state = {
      armed: false,
      fetch: (async (url, init) => {
        const response = await fetch(url, init);
        if (!state.armed || init.method !== 'POST') return response;
        const body = change(new Uint8Array(await response.arrayBuffer()));
        const { status } = response;
        const headers = new Headers(response.headers);
        headers.delete('content-length');
        return new Response(body as Uint8Array<ArrayBuffer>, { status, headers });
      }) as Fetch,
    };
    return state;
  }

  /** Where the chunks of a response begin, the last included; each has one or two bytes of length. */
  function starts(body: Uint8Array): readonly number[] {
    const found: number[] = [];
    for (let at = 32; at < body.length;) {
      found.push(at);
      const first = body[at]!;
      if (first === 0) break;
      at += first >> 6 === 0 ? 1 + first : 2 + (((first & 0x3f) << 8) | body[at + 1]!);
    }
    return found;
  }

  const attacks: readonly (readonly [string, (body: Uint8Array) => Uint8Array])[] = [
    ['truncates before the last chunk', (body) => body.subarray(0, starts(body).at(-1))],
    ['truncates inside a chunk', (body) => body.subarray(0, -5)],
    ['truncates to nothing', () => new Uint8Array(0)],
    [
      'reorders chunks',
      (body) => {
        const [a = 0, b = 0, c = 0, d = 0] = starts(body);
        return concat(
          body.subarray(0, a),
          body.subarray(b, c),
          body.subarray(a, b),
          body.subarray(c, d),
          body.subarray(d),
        );
      },
    ],
    ['drops a chunk', (body) => concat(body.subarray(0, starts(body)[1]), body.subarray(starts(body)[2]))],
    [
      'sends a chunk twice',
      (body) => concat(body.subarray(0, starts(body)[2]), body.subarray(starts(body)[1])),
    ],
    ['alters a byte', (body) => body.map((byte, i) => (i === 60 ? byte ^ 1 : byte))],
    ['alters the nonce', (body) => body.map((byte, i) => (i === 3 ? byte ^ 1 : byte))],
    ['adds something behind the end', (body) => concat(body, Uint8Array.of(0))],
  ];
  test.each(attacks)('that %s is refused', async (_name, change) => {
    const box = tampering(change);
    const { session: over } = await session({ fetch: box.fetch });
    box.armed = true;
    expect(await codeOf(over.stream(STREAM).then((stream) => stream.finish()))).toBe('RESPONSE_REFUSED');
  });

  test('that mixes two answers, or answers again with an old one, is refused', async () => {
    let old: Uint8Array | undefined;
    const box = tampering((body) => {
      const former = (old ??= body);
      return former === body
        ? body
        : concat(body.subarray(0, starts(body)[1]), former.subarray(starts(former)[1]));
    });
    const { session: over } = await session({ fetch: box.fetch });
    box.armed = true;
    await (await over.stream(STREAM)).finish();
    expect(await codeOf(over.stream(STREAM).then((stream) => stream.finish()))).toBe('RESPONSE_REFUSED');
    const replaying = tampering(() => old!);
    const { session: other } = await session({ fetch: replaying.fetch });
    replaying.armed = true;
    expect(await codeOf(other.send(EMBED))).toBe('RESPONSE_REFUSED');
  });

  test('that replays a request gets no second answer', async () => {
    const bodies: Uint8Array[] = [];
    const recording: Fetch = (url, init) => {
      if (init.method === 'POST') bodies.push(init.body as Uint8Array);
      return fetch(url, init);
    };
    const { service, session: over } = await session({ fetch: recording });
    await over.send(EMBED);
    const answer = await postSealed(service.url, 'chunked', bodies.at(-1)!);
    expect([answer.status, service.engine.calls]).toEqual([409, 1]);
  });

  test('that truncates or reorders a request reaches no route', async () => {
    const box: { change: (body: Uint8Array) => Uint8Array } = { change: (body) => body };
    const altering: Fetch = (url, init) =>
      fetch(
        url,
        init.body ? { ...init, body: box.change(init.body as Uint8Array) as Uint8Array<ArrayBuffer> } : init,
      );
    const { service, session: over } = await session({ fetch: altering });
    const long = { ...EMBED, body: JSON.stringify({ model: 'fake', input: 'x'.repeat(40_000) }) };
    const [head, size] = [39, 4 + 16_384 + 16];
    const changes: readonly ((body: Uint8Array) => Uint8Array)[] = [
      (body) => body.subarray(0, -1),
      (body) => body.subarray(0, head + size),
      (body) =>
        concat(
          body.subarray(0, head),
          body.subarray(head + size, head + 2 * size),
          body.subarray(head, head + size),
          body.subarray(head + 2 * size),
        ),
    ];
    for (const change of changes) {
      box.change = change;
      expect(await codeOf(over.send(long))).toBe('KEYSET_CHANGED');
    }
    expect(service.engine.calls).toBe(0);
  });

  test('that tells keys of its own learns a nonce, and gets nothing accepted', async () => {
    const own = encodeKeyConfigs([keyConfigOf((await makeKeyring()).keyset)]);
    const swapping: Fetch = async (url, init) =>
      init.method === 'GET' ? new Response(own as Uint8Array<ArrayBuffer>) : fetch(url, init);
    // The service cannot open what is sealed to other keys; the relay can, and has no evidence for its own.
    expect(await codeOf(session({ fetch: swapping }))).toBe('KEYSET_CHANGED');
    const none: Fetch = () => Promise.resolve(new Response('no keys'));
    expect(await codeOf(session({ fetch: none }))).toBe('BAD_ANSWER');
  });

  test('that answers openly is no answer', async () => {
    const box = tampering((body) => body);
    const open: Fetch = async (url, init) =>
      box.armed
        ? new Response('{"data":[]}', { headers: { 'content-type': 'application/json' } })
        : box.fetch(url, init);
    const { session: over } = await session({ fetch: open });
    box.armed = true;
    expect(await codeOf(over.send(EMBED))).toBe('BAD_ANSWER');
  });
});

describe('a relay', () => {
  async function recordingGateway(): Promise<{ url: string; seen: IncomingHttpHeaders[]; server: Server }> {
    const seen: IncomingHttpHeaders[] = [];
    const server = createServer((request, response) => {
      seen.push(request.headers);
      request.resume().on('end', () => {
        response.writeHead(200, {
          'content-type': 'message/ohttp-res',
          'set-cookie': 'id=1',
          server: 'x',
          via: 'y',
        });
        response.end('sealed');
      });
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, server };
  }

  function ask(relay: RunningRelay, init: RequestInit): Promise<Response> {
    return fetch(relay.url, { method: 'POST', ...init });
  }
  const TYPE = { 'content-type': 'message/ohttp-req' };

  test('hands on the body and its type, and nothing of its caller', async () => {
    const gateway = await recordingGateway();
    const relay = await relayTo(gateway.url);
    const headers = {
      ...TYPE,
      incremental: '?1',
      cookie: 'me',
      'x-forwarded-for': '203.0.113.9',
      authorization: 'Bearer k',
      accept: 'a/b',
    };
    const answer = await ask(relay, { headers, body: 'sealed' });
    expect([answer.status, await answer.text()]).toEqual([200, 'sealed']);
    const passed = Object.keys(gateway.seen[0]!).sort();
    expect(passed).toEqual(['connection', 'content-length', 'content-type', 'host', 'incremental']);
    expect(answer.headers.get('set-cookie')).toBeNull();
    const kept = [...answer.headers.keys()].filter(
      (name) => !/^(access-control|date|connection|keep-alive)/.test(name),
    );
    expect(kept.sort()).toEqual(['cache-control', 'content-type', 'transfer-encoding']);
  });

  test('refuses what is obviously no encapsulated request', async () => {
    const gateway = await recordingGateway();
    const relay = await relayTo(gateway.url, { limits: { ...RELAY_LIMITS, bodyBytes: 10 } });
    const refusals = [
      [{ headers: TYPE, body: 'x'.repeat(11) }, 413, 'BODY_TOO_LARGE'],
      [{ headers: TYPE }, 400, 'BODY_MISSING'],
      [{ headers: { 'content-type': 'text/plain' }, body: 'x' }, 415, 'CONTENT_TYPE_UNSUPPORTED'],
      [{ method: 'PUT', headers: TYPE, body: 'x' }, 405, 'METHOD_NOT_ALLOWED'],
    ] as const;
    for (const [init, status, code] of refusals) {
      const answer = await ask(relay, init);
      expect([answer.status, await answer.json()]).toEqual([
        status,
        { error: expect.objectContaining({ code }) },
      ]);
    }
    expect((await fetch(`${relay.url}/other`)).status).toBe(404);
    const chunked = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 4; i++) controller.enqueue(new Uint8Array(8));
        controller.close();
      },
    });
    const answer = await ask(relay, { headers: TYPE, body: chunked, duplex: 'half' } as RequestInit);
    expect(answer.status).toBe(413);
    expect(gateway.seen.every((headers) => headers['content-length'] === undefined)).toBe(true);
  });

  test('says so where its gateway is gone, late or none, and tries nothing twice', async () => {
    const gateway = await recordingGateway();
    const problems: string[] = [];
    const onProblem = ({ code }: RelayError): void => void problems.push(code);
    const relay = await relayTo(gateway.url, { onProblem });
    expect((await fetch(relay.url)).status).toBe(502);
    gateway.server.removeAllListeners('request').on('request', () => gateway.seen.push({}));
    const late = await relayTo(gateway.url, { limits: { ...RELAY_LIMITS, timeoutMs: 50 }, onProblem });
    gateway.seen.length = 0;
    expect((await ask(late, { headers: TYPE, body: 'x' })).status).toBe(504);
    expect(gateway.seen).toHaveLength(1);
    gateway.server.close().closeAllConnections();
    expect((await ask(relay, { headers: TYPE, body: 'x' })).status).toBe(502);
    expect(problems).toEqual(['GATEWAY_UNFIT', 'GATEWAY_TIMEOUT', 'GATEWAY_UNREACHABLE']);
  });

  test('lets pages ask, and carries so many requests at once', async () => {
    const service = await startTestService();
    const relay = await relayTo(service.url, { limits: { ...RELAY_LIMITS, concurrency: 1 } });
    const preflight = await ask(relay, { method: 'OPTIONS' });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, '*']);
    service.engine.held = true;
    const inner = innerPost('/v1/embeddings', { model: 'fake', input: 'x' });
    const sealed = await sealInner('whole', gatewayKey(service), inner);
    const first = ask(relay, { headers: TYPE, body: sealed.body as Uint8Array<ArrayBuffer> });
    await until(() => service.engine.calls === 1);
    expect((await ask(relay, { headers: TYPE, body: 'x' })).status).toBe(429);
    service.engine.release();
    expect((await openAnswer('whole', sealed, await first)).status).toBe(200);
  });

  test('ends what it carries when its caller goes, and when it stops', async () => {
    const service = await startTestService();
    const relay = await relayTo(service.url);
    service.engine.held = true;
    const carry = async (signal?: AbortSignal): Promise<Response> => {
      const { body } = await sealInner(
        'chunked',
        gatewayKey(service),
        innerPost('/v1/embeddings', { model: 'fake', input: 'x' }),
      );
      const headers = { 'content-type': 'message/ohttp-chunked-req' };
      return ask(relay, { headers, body: body as Uint8Array<ArrayBuffer>, ...(signal && { signal }) });
    };
    const controller = new AbortController();
    const gone = carry(controller.signal).catch(() => 'gone');
    await until(() => service.engine.calls === 1);
    controller.abort();
    expect(await gone).toBe('gone');
    await until(() => service.engine.aborted === 1);
    const stopped = carry().catch(() => 'stopped');
    await until(() => service.engine.calls === 2);
    await relay.stop(0);
    expect(await stopped).toBe('stopped');
    await until(() => service.engine.aborted === 2);
  });

  test.each(['ftp://a', 'http://gateway.example', 'nothing', 'https://a/?q'])(
    'has no gateway at %s',
    async (gateway) => {
      await expect(relayTo(gateway)).rejects.toThrow(TypeError);
    },
  );

  test('ends TLS with a certificate of its own', async () => {
    const service = await startTestService();
    const made = await openTlsKeys({ enabled: true, hosts: ['localhost', '127.0.0.1'], now: Date.now });
    const tls = { cert: Buffer.alloc(0), key: Buffer.alloc(0) };
    // What is given is wiped afterwards.
    const identity = await made!(Date.now() / 1000 + 3600);
    await identity.present(undefined, ({ cert, key }) => {
      tls.cert = Buffer.from(cert as string);
      tls.key = Buffer.from(key as Buffer);
    });
    const { url } = await relayTo(service.url, { tls });
    const asked = request(url, { rejectUnauthorized: false }).end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    answer.resume();
    expect([url.startsWith('https:'), answer.statusCode]).toEqual([true, 200]);
  });

  test('finds the gateway at the address of its service or at its own', async () => {
    const service: TestService = await startTestService();
    for (const address of [service.url, service.url + GATEWAY_PATH]) {
      const relay = await relayTo(address);
      const told = new Uint8Array(await (await fetch(relay.url)).arrayBuffer());
      expect(told).toEqual(encodeKeyConfigs([keyConfigOf(service.world.keyring.keyset)]));
    }
  });
});
