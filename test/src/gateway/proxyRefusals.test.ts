import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { orderFor } from '../../../src/gateway/proxy/pinning.ts';
import type { ReceiptRecord } from '../../../src/client/receiptStore.ts';
import { startTestService, until, type TestService } from '../../support/service.ts';
import { NOW } from '../../support/world.ts';
import {
  startBox,
  startTestProxy,
  stopProxies,
  thrownBy,
  withChat,
  type Alter,
  type MiddleBox,
} from './proxied.ts';

const SECRET = 'platypus';
const CHAT = { model: 'chat', messages: [{ role: 'user' as const, content: `${SECRET} one two three` }] };
const FAST = { retryMs: 20, maxRetryMs: 40 };

let service: TestService;
let box: MiddleBox;
beforeEach(async () => {
  service = withChat(await startTestService());
  box = await startBox(service.url);
});
afterEach(async () => {
  await stopProxies();
  await box.stop();
});

/** All that a caller gets of a request, however it ends. */
async function rawAnswer(
  url: string,
  stream: boolean,
): Promise<{ status: number; text: string; whole: boolean }> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...CHAT, stream }),
  });
  let text = '';
  try {
    const decoder = new TextDecoder();
    for await (const bytes of response.body ?? []) text += decoder.decode(bytes);
  } catch {
    return { status: response.status, text, whole: false };
  }
  return { status: response.status, text, whole: true };
}

describe('while no upstream is accepted', () => {
  test('the caller is told why, and nothing of the request leaves', async () => {
    const judging = { policy: DEFAULT_POLICY, crypto: nodeCrypto, now: () => NOW };
    const proxy = await startTestProxy([box.url], { judging });
    const error = await thrownBy(proxy.client.chat.completions.create(CHAT));
    expect(error).toMatchObject({ status: 503, code: 'NO_UPSTREAM' });
    expect(String(error)).toContain('EVIDENCE_REFUSED');
    expect((await fetch(`${proxy.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${proxy.url}/livez`)).status).toBe(200);
    const status: unknown = await (await fetch(`${proxy.url}/status`)).json();
    expect(status).toMatchObject({
      ready: false,
      upstreams: [{ state: 'unavailable', code: 'EVIDENCE_REFUSED', decision: 'refused' }],
    });
    expect(new Set(box.requests)).toEqual(new Set(['GET /v1/attestation']));
    expect(box.received.join()).not.toMatch(new RegExp(`${SECRET}|Bearer`));
  });

  test('it asks again until the service is there', async () => {
    box.alter = () => 'cut';
    const proxy = await startTestProxy([box.url], { limits: FAST });
    expect(await thrownBy(proxy.client.models.list())).toMatchObject({ status: 503, code: 'NO_UPSTREAM' });
    box.alter = () => undefined;
    await until(() => proxy.status.ready);
    const { choices } = await proxy.client.chat.completions.create(CHAT);
    expect(choices[0]!.message.content).toContain(SECRET);
    expect(box.received.join()).not.toContain(SECRET);
  });
});

/** Turns one bit, 20 bytes before the end of a part: in a signature, or in a seal. */
function turned(body: Buffer, part: Uint8Array = body): Buffer {
  const altered = Buffer.from(body);
  altered[body.indexOf(part) + part.length - 20]! ^= 1;
  return altered;
}

const HOSTILE: readonly (readonly [name: string, code: string, alter: Alter])[] = [
  [
    'alters the receipt in its bundle',
    'RECEIPT_REFUSED',
    (path, _status, body) => (path.endsWith('/bundle') ? turned(body, parseBundle(body).receipt) : undefined),
  ],
  ['withholds the bundle', 'REQUEST_REJECTED', (path) => (path.endsWith('/bundle') ? 404 : undefined)],
  [
    'alters the sealed answer',
    'RESPONSE_REFUSED',
    (path, _status, body) => (path.startsWith('/v1/chat') ? turned(body) : undefined),
  ],
  [
    'cuts the sealed answer short',
    'RESPONSE_REFUSED',
    (path, _status, body) => (path.startsWith('/v1/chat') ? body.subarray(0, -40) : undefined),
  ],
  [
    'answers in the clear',
    'BAD_ANSWER|RESPONSE_REFUSED',
    (path) => (path.startsWith('/v1/chat') ? Buffer.from('{"choices":[]}') : undefined),
  ],
];

const store = { put: (): Promise<void> => Promise.resolve() };

describe('a box on the way', () => {
  test.each(HOSTILE)('%s: no text reaches the caller', async (_name, code, alter) => {
    const proxy = await startTestProxy([box.url], { archive: store });
    box.alter = alter;
    for (const stream of [false, true]) {
      const { status, text } = await rawAnswer(proxy.url, stream);
      expect(status).toBe(502);
      expect(text).toMatch(new RegExp(`"code":"(?:${code})"`));
      expect(text).not.toContain(SECRET);
    }
    const refused = code.includes('_REFUSED') ? 2 : 0;
    expect(proxy.status.upstreams[0]).toMatchObject({ answers: 0, refused });
  });

  test.each(HOSTILE.slice(0, 2))(
    '%s: a live stream never ends as a whole one',
    async (_name, _code, alter) => {
      const proxy = await startTestProxy([box.url], { archive: store, stream: 'live' });
      box.alter = alter;
      const { text, whole } = await rawAnswer(proxy.url, true);
      expect(whole).toBe(false);
      expect(text).not.toContain('[DONE]');
      expect(text).toContain('event: vouchsafe.verdict');
      const stream = await proxy.client.chat.completions.create({ ...CHAT, stream: true });
      const read = async (): Promise<void> => {
        for await (const chunk of stream) expect(chunk.object).toBe('chat.completion.chunk');
      };
      expect(await thrownBy(read())).toBeInstanceOf(Error);
    },
  );

  test('a live stream that is accepted says so before its end and after it', async () => {
    const proxy = await startTestProxy([box.url], { stream: 'live' });
    const { text, whole } = await rawAnswer(proxy.url, true);
    expect(whole).toBe(true);
    expect(text).toMatch(
      /: vouchsafe-verdict accepted [0-9a-f]{32}\n\ndata: \[DONE\]\n\nevent: vouchsafe.verdict\n/,
    );
  });
});

test('an answer that cannot be kept is withheld', async () => {
  const archive = { put: () => Promise.reject(new Error('full')) };
  const proxy = await startTestProxy([service.url], { archive });
  const { status, text } = await rawAnswer(proxy.url, false);
  expect(status).toBe(500);
  expect(text).toContain('STORE_FAILED');
  expect(text).not.toContain(SECRET);
});

/** A user whose conversations go to the first of two addresses. */
function userOf(url: string, other: string): object {
  const upstreams = [{ url }, { url: other }];
  const users = Array.from({ length: 64 }, (_, index) => `user ${index}`);
  const user = users.find(
    (conversation) => orderFor({ apiKey: 'any', conversation }, upstreams)[0]!.url === url,
  );
  return { user };
}

describe('several upstreams', () => {
  test('the next one is asked where one is gone, or takes nothing', async () => {
    const other = withChat(await startTestService());
    const proxy = await startTestProxy([box.url, other.url], { limits: FAST });
    const user = userOf(box.url, other.url);
    box.alter = (path) => (path.startsWith('/v1/chat') ? 503 : undefined);
    await proxy.client.chat.completions.create({ ...CHAT, ...user });
    await box.stop();
    await proxy.client.chat.completions.create({ ...CHAT, ...user });
    const failovers = proxy.events.flatMap((event) => (event.kind === 'failover' ? [event.code] : []));
    expect(failovers).toEqual(['REQUEST_REJECTED', 'UNREACHABLE']);
    expect(proxy.status.upstreams.map(({ answers }) => answers)).toEqual([0, 2]);
    await until(() => proxy.status.upstreams[0]!.state === 'unavailable');
    box = await startBox(service.url);
  });

  test('a conversation stays where it began', async () => {
    const other = withChat(await startTestService());
    const proxy = await startTestProxy([service.url, other.url]);
    const ask = (user: object) => proxy.client.chat.completions.create({ ...CHAT, ...user });
    const first = userOf(service.url, other.url);
    for (let turn = 0; turn < 3; turn++) await ask(first);
    await ask(userOf(other.url, service.url));
    expect(proxy.status.upstreams.map(({ answers }) => answers)).toEqual([3, 1]);
  });

  test('a service that comes back with other keys is judged anew', async () => {
    const proxy = await startTestProxy([box.url], { limits: FAST });
    await proxy.client.chat.completions.create(CHAT);
    const before = proxy.status.upstreams[0]!.keysetDigest;
    box.target = withChat(await startTestService()).url;
    await proxy.client.chat.completions.create(CHAT);
    expect(proxy.status.upstreams[0]!.keysetDigest).not.toBe(before);
    expect(proxy.status.upstreams[0]!.answers).toBe(2);
  });
});

test('what is kept has content, commitment key and bundle', async () => {
  const kept: ReceiptRecord[] = [];
  const archive = { put: (record: ReceiptRecord) => Promise.resolve(void kept.push(record)) };
  const proxy = await startTestProxy([service.url], { archive });
  await proxy.client.chat.completions.create(CHAT);
  expect(kept).toHaveLength(1);
  const [{ request, response, k, bundle }] = kept as [ReceiptRecord];
  expect(Buffer.from(request).toString()).toContain(SECRET);
  expect(Buffer.from(response).toString()).toContain(SECRET);
  expect(k).toHaveLength(32);
  expect(bundle?.length).toBeGreaterThan(1000);
});

test('a policy that wants coverage waits for it', async () => {
  const judging = {
    policy: { ...SIMULATED_POLICY, coverage: 'required' as const },
    crypto: nodeCrypto,
    now: () => NOW,
  };
  const proxy = await startTestProxy([service.url], { judging });
  const { response } = await proxy.client.embeddings.create({ model: 'fake', input: 'a' }).withResponse();
  expect(response.headers.get('vouchsafe-verdict')).toBe('accepted');
});
