import { describe, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { connect, type ConnectOptions } from '../../../src/client/connect.ts';
import type { VerifiedAnswer } from '../../../src/client/receiptChecks.ts';
import type { Session } from '../../../src/client/session.ts';
import { apiKey, issuedClaims, startTestService, type TestService, until } from '../../support/service.ts';
import { NOW } from '../../support/world.ts';

const TEMPLATE = '{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}{{ eos_token }}';
const MESSAGES = [{ role: 'user', content: 'hello there' }] as const;
const CHAT = { model: 'chat', messages: [...MESSAGES] };

/** npm `openai` over the session of a real service with an engine that echoes. */
interface Opened {
  readonly service: TestService;
  readonly session: Session;
  readonly client: OpenAI;
  readonly receipts: VerifiedAnswer[];
}

async function open(
  overrides: Parameters<typeof startTestService>[0] = {},
  options: Partial<ConnectOptions> & { readonly key?: string } = {},
): Promise<Opened> {
  const service = await startTestService(overrides);
  const chatTemplate = { template: TEMPLATE, bosToken: '<s>', eosToken: 'end' };
  service.engine.models.set('chat', { ...service.engine.models.get('fake')!, id: 'chat', chatTemplate });
  const receipts: VerifiedAnswer[] = [];
  const session = await connect(service.url, {
    policy: SIMULATED_POLICY,
    crypto: nodeCrypto,
    now: () => NOW,
    onReceipt: (receipt) => receipts.push(receipt),
    ...options,
  });
  const { fetch, baseURL } = session;
  const client = new OpenAI({ baseURL, apiKey: options.key ?? 'unused', fetch, maxRetries: 0 });
  return { service, session, client, receipts };
}

describe('npm openai over session.fetch', () => {
  test('a chat, whole, streamed and streamed by the other API', async () => {
    const { service, client, receipts } = await open();
    const whole = await client.chat.completions.create(CHAT);
    expect(whole.choices[0]?.message.content).toBe('user:hellothereend');
    let text = '';
    for await (const { choices } of await client.chat.completions.create({ ...CHAT, stream: true })) {
      text += choices[0]?.delta.content ?? '';
    }
    expect(text).toBe('user:hellothereend');
    const types: string[] = [];
    for await (const { type } of await client.responses.create({
      model: 'chat',
      input: 'hi',
      stream: true,
    })) {
      types.push(type);
    }
    expect(types.at(-1)).toBe('response.completed');
    expect(types).not.toContain('vouchsafe.receipt');
    expect(receipts.map(({ verdict }) => verdict.decision)).toEqual(['accepted', 'accepted', 'accepted']);
    expect(issuedClaims(service).map(({ channel }) => channel)).toEqual(['hpke', 'hpke', 'hpke']);
  });

  test('a chat under the hybrid post-quantum suite', async () => {
    const { client, receipts } = await open({}, { suite: 'hybrid' });
    expect((await client.chat.completions.create(CHAT)).choices).toHaveLength(1);
    expect(receipts).toHaveLength(1);
  });

  test('embeddings and models; the answer can be asked for its receipt', async () => {
    const { client, session } = await open();
    const { data, response } = await client.embeddings
      .create({ model: 'fake', input: 'abc', encoding_format: 'float' })
      .withResponse();
    expect(data.data[0]?.embedding).toEqual([3, 0.5]);
    expect(response.headers.get('vouchsafe-verified')).toBe('?1');
    const verified = await session.verificationOf(response);
    expect(verified?.receipt?.claims.model).toBe('fake');
    const list = await client.models.list().asResponse();
    expect(list.headers.get('vouchsafe-verified')).toBe('?0');
    expect(await session.verificationOf(list)).toBeUndefined();
    expect((await client.models.list()).data.map(({ id }) => id)).toContain('fake');
  });

  test('an abort in the middle of a stream ends it, at the service, too', async () => {
    const { service, client, receipts } = await open();
    const controller = new AbortController();
    service.engine.held = true;
    const stream = await client.chat.completions.create(
      { ...CHAT, stream: true },
      { signal: controller.signal },
    );
    const reading = async () => {
      for await (const { id } of stream) if (id !== '') controller.abort();
    };
    await reading().catch((error: unknown) => {
      expect(error).toBeInstanceOf(OpenAI.APIUserAbortError);
    });
    await until(() => service.engine.aborted > 0);
    expect(receipts).toEqual([]);
  });
});

describe('errors reach npm openai as those of the API', () => {
  test('400 and 404 inside the seal', async () => {
    const { client } = await open();
    await expect(client.chat.completions.create({ ...CHAT, n: 0 })).rejects.toThrow(OpenAI.BadRequestError);
    await expect(client.chat.completions.create({ ...CHAT, model: 'absent' })).rejects.toThrow(
      OpenAI.NotFoundError,
    );
  });

  test('401 without the key, and the key of the caller is enough', async () => {
    const { key, entry } = apiKey('tenant');
    const overrides = { keys: { apiKeys: [entry] } };
    const { client, session } = await open(overrides);
    await expect(client.chat.completions.create(CHAT)).rejects.toThrow(OpenAI.AuthenticationError);
    const { fetch, baseURL } = session;
    const known = new OpenAI({ baseURL, apiKey: key, fetch, maxRetries: 0 });
    expect((await known.chat.completions.create(CHAT)).choices).toHaveLength(1);
  });

  test('429 where the queue is full', async () => {
    const { service, client } = await open({ limits: { concurrency: 1, queue: 0 } });
    service.engine.held = true;
    const first = client.chat.completions.create(CHAT);
    await until(() => service.engine.calls > 0);
    await expect(client.chat.completions.create(CHAT)).rejects.toThrow(OpenAI.RateLimitError);
    service.engine.release();
    await first;
  });
});
