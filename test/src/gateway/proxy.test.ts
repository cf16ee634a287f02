import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { APIError, type OpenAI } from 'openai';
import { startTestService, until, type TestService } from '../../support/service.ts';
import { startTestProxy, stopProxies, thrownBy, withChat, type TestProxy } from './proxied.ts';

const MESSAGES = [{ role: 'user' as const, content: 'one two three' }];
const CHAT = { model: 'chat', messages: MESSAGES } as const;

let service: TestService;
let proxy: TestProxy;
beforeEach(async () => {
  service = withChat(await startTestService());
});
afterEach(stopProxies);

async function textOf(stream: AsyncIterable<OpenAI.ChatCompletionChunk>): Promise<string> {
  let text = '';
  for await (const { choices } of stream) text += choices[0]?.delta.content ?? '';
  return text;
}

describe.each(['verified', 'live'] as const)('the client of OpenAI, streams %s', (stream) => {
  beforeEach(async () => {
    proxy = await startTestProxy([service.url], { stream });
  });

  test('chats, embeds, streams and lists models with another address alone', async () => {
    const { client } = proxy;
    const { data, response } = await client.chat.completions.create(CHAT).withResponse();
    expect(data.choices[0]!.message.content).toContain('one');
    expect(response.headers.get('vouchsafe-verdict')).toBe('accepted');
    expect(response.headers.get('vouchsafe-simulated')).toBe('cpu, gpu');
    expect(response.headers.get('vouchsafe-receipt-id')).toMatch(/^[0-9a-f]{32}$/);
    expect(response.headers.get('vouchsafe-evidence')).toMatch(/^[0-9a-f]{64}$/);
    const whole = data.choices[0]!.message.content;
    expect(await textOf(await client.chat.completions.create({ ...CHAT, stream: true }))).toBe(whole);
    const embedded = await client.embeddings.create({ model: 'fake', input: 'hello' });
    expect(embedded.data[0]!.embedding).toEqual([5, 0.5]);
    const responded = await client.responses.stream({ model: 'chat', input: 'one two' }).finalResponse();
    expect(responded).toMatchObject({ status: 'completed', output: [{ content: [{ text: 'onetwo' }] }] });
    expect((await client.models.list()).data.map(({ id }) => id)).toContain('chat');
    expect(proxy.status.upstreams[0]).toMatchObject({ state: 'accepted', answers: 4, refused: 0 });
  });

  test('an abort ends the work of the service', async () => {
    service.engine.held = true;
    const controller = new AbortController();
    const asked = thrownBy(
      proxy.client.chat.completions
        .create({ ...CHAT, stream: true }, { signal: controller.signal })
        .then(textOf),
    );
    await until(() => service.engine.calls > 0);
    controller.abort();
    await asked;
    await until(() => service.engine.aborted > 0);
    await until(() => proxy.status.inFlight === 0);
  });

  test('errors of the service are errors of the client', async () => {
    const error = await thrownBy(proxy.client.chat.completions.create({ ...CHAT, model: 'none' }));
    expect(error).toMatchObject({ status: 404, code: 'MODEL_NOT_FOUND' });
    expect(await thrownBy(proxy.client.files.list())).toMatchObject({ status: 404, code: 'NOT_FOUND' });
    service.engine.failure = 'UNAVAILABLE' as never;
    expect(await thrownBy(proxy.client.chat.completions.create(CHAT))).toBeInstanceOf(APIError);
  });
});
