import { describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { checkParameter } from '../../../attestation/receipt/opening.ts';
import { decimal } from '../../../src/http/generationSettings.ts';
import { issuedClaims, startTestService, type TestService, until } from '../../support/service.ts';

const TEMPLATE = '{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}{{ eos_token }}';
/** A tool, which the template above has no place for. */
const F = { type: 'function', function: { name: 'f' } };
const HELLO = [{ role: 'user', content: 'hello there' }];

/** A service whose model `chat` echoes the words of the templated prompt. */
async function startChat(template = TEMPLATE): Promise<TestService> {
  const service = await startTestService();
  const chatTemplate = { template, bosToken: '<s>', eosToken: 'end' };
  service.engine.models.set('chat', { ...service.engine.models.get('fake')!, id: 'chat', chatTemplate });
  return service;
}

interface Failure {
  readonly error: { readonly type: string; readonly param: string | null; readonly code: string };
}

describe('a chat', () => {
  test('is answered by a message', async () => {
    const service = await startChat();
    const answer = await service.post('/v1/chat/completions', { model: 'chat', messages: HELLO });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({
      id: `chatcmpl-${answer.headers.get('vouchsafe-receipt-id')!}`,
      object: 'chat.completion',
      created: expect.any(Number),
      model: 'chat',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'user:hellothereend', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: { prompt_tokens: 4, completion_tokens: 4, total_tokens: 8 },
    });
    expect(issuedClaims(service)[0]).toMatchObject({
      path: '/v1/chat/completions',
      parameters: new Map([
        ['max_tokens', '64'],
        ['temperature', '0'],
        ['stream', 'false'],
      ]),
    });
  });

  test('takes all roles, parts of text and names', async () => {
    const service = await startChat(
      '{% for m in messages %}{{ m.role }}={{ m.name }}={{ m.content }};{% endfor %}',
    );
    const messages = [
      { role: 'developer', content: 'a' },
      {
        role: 'user',
        name: 'bob',
        content: [
          { type: 'text', text: 'b' },
          { type: 'text', text: 'c' },
        ],
      },
      { role: 'assistant', content: 'd', refusal: null, tool_calls: null },
    ];
    const answer = await service.post('/v1/chat/completions', { model: 'chat', messages });
    const { choices } = (await answer.json()) as { choices: { message: { content: string } }[] };
    expect(choices[0]!.message.content).toBe('system==a;user=bob=bc;assistant==d;');
  });

  test('streams chunks, the role first', async () => {
    const service = await startChat();
    const body = { model: 'chat', messages: HELLO, stream: true, stream_options: { include_usage: true } };
    const text = await (await service.post('/v1/chat/completions', body)).text();
    const chunks = [...text.matchAll(/^data: (\{.*\})$/gm)]
      .map((match) => JSON.parse(match[1]!) as { object: string; choices: object[]; usage: unknown })
      .filter((chunk) => 'object' in chunk);
    expect(chunks.every((chunk) => chunk.object === 'chat.completion.chunk')).toBe(true);
    expect(chunks.flatMap(({ choices }) => choices)).toEqual([
      {
        index: 0,
        delta: { role: 'assistant', content: 'user:', refusal: null },
        logprobs: null,
        finish_reason: null,
      },
      ...['hello', 'there', 'end'].map((content) => ({
        index: 0,
        delta: { content },
        logprobs: null,
        finish_reason: null,
      })),
      { index: 0, delta: {}, logprobs: null, finish_reason: 'stop' },
    ]);
    expect(chunks.map(({ usage }) => usage)).toEqual([
      ...new Array<null>(5).fill(null),
      { prompt_tokens: 4, completion_tokens: 4, total_tokens: 8 },
    ]);
    expect(text).toContain('data: [DONE]\n\nevent: vouchsafe.receipt\n');
  });

  test('with a model that has no template is refused by code', async () => {
    const service = await startChat();
    const answer = await service.post('/v1/chat/completions', { model: 'fake', messages: HELLO });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      error: { code: 'CHAT_TEMPLATE_MISSING', param: 'model', type: 'invalid_request_error' },
    });
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'refused', reason: 'UNSUPPORTED_TASK' }]);
  });

  test('with a model that does not generate is refused', async () => {
    const service = await startChat();
    service.engine.models.set('embed', {
      ...service.engine.models.get('chat')!,
      id: 'embed',
      tasks: ['embed'],
    });
    const answer = await service.post('/v1/chat/completions', { model: 'embed', messages: HELLO });
    expect(await answer.json()).toMatchObject({ error: { code: 'UNSUPPORTED_TASK', param: 'model' } });
  });

  test('that the template refuses is not quoted', async () => {
    const service = await startChat("{{ raise_exception('bad ' + messages[0].content) }}");
    const messages = [{ role: 'user', content: 'secret' }];
    const answer = await service.post('/v1/chat/completions', { model: 'chat', messages });
    expect(answer.status).toBe(400);
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({ error: { param: 'messages', code: 'INVALID_INPUT' } });
    expect(text + service.lines.join('')).not.toContain('secret');
  });

  test('ends when its client goes away', async () => {
    const service = await startChat();
    service.engine.held = true;
    const controller = new AbortController();
    const gone = fetch(`${service.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'chat', messages: HELLO, n: 3 }),
      signal: controller.signal,
    }).catch(() => undefined);
    await until(() => service.engine.calls === 3);
    controller.abort();
    await gone;
    await until(() => issuedClaims(service).length === 1);
    expect(service.engine.aborted).toBe(3);
    expect(issuedClaims(service)[0]).toMatchObject({ outcome: 'aborted', reason: 'CANCELLED' });
  });
});

describe('a chat is refused, with the parameter named, for', () => {
  test.each([
    [{ messages: undefined }, 'messages'],
    [{ messages: [] }, 'messages'],
    [{ messages: 'hello' }, 'messages'],
    [{ messages: [1] }, 'messages[0]'],
    [{ messages: [{ role: 'robot', content: 'x' }] }, 'messages[0].role'],
    [{ messages: [{ role: 'tool', content: 'x' }] }, 'messages[0].tool_call_id'],
    [{ messages: [{ role: 'user', content: 'x', tool_call_id: 'a' }] }, 'messages[0].tool_call_id'],
    [{ messages: [{ role: 'user', content: 'x', tool_calls: [] }] }, 'messages[0].tool_calls'],
    [{ messages: [{ role: 'assistant', content: null, tool_calls: [{}] }] }, 'messages[0].tool_calls[0]'],
    [{ messages: [{ role: 'assistant', content: null }] }, 'messages[0].content'],
    [
      {
        messages: [
          {
            role: 'assistant',
            tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '[]' } }],
          },
        ],
      },
      'messages[0].tool_calls[0].function.arguments',
    ],
    [{ messages: [{ role: 'user' }] }, 'messages[0].content'],
    [{ messages: [{ role: 'user', content: [] }] }, 'messages[0].content'],
    [
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }] },
      'messages[0].content',
    ],
    [{ messages: [{ role: 'user', content: 'x', name: 1 }] }, 'messages[0].name'],
    [{ tools: [{ type: 'function', function: { name: 'f' } }] }, 'tools'],
    [{ tool_choice: 'auto' }, 'tool_choice'],
    [{ functions: [] }, 'functions'],
    [{ tools: [{ type: 'web' }] }, 'tools[0]'],
    [{ tools: [{ type: 'function', function: { name: 'f g' } }] }, 'tools[0].function.name'],
    [
      { tools: [{ type: 'function', function: { name: 'f', parameters: { minProperties: 1 } } }] },
      'tools[0].function.parameters',
    ],
    [{ tools: [F, F] }, 'tools'],
    [{ tools: [F], tool_choice: { type: 'function', function: { name: 'g' } } }, 'tool_choice'],
    [{ tools: [F], parallel_tool_calls: 1 }, 'parallel_tool_calls'],
    [{ response_format: { type: 'xml' } }, 'response_format.type'],
    [{ response_format: { type: 'json_object', schema: {} } }, 'response_format'],
    [
      { response_format: { type: 'json_schema', json_schema: { schema: {} } } },
      'response_format.json_schema.name',
    ],
    [
      { response_format: { type: 'json_schema', json_schema: { name: 's', schema: { not: {} } } } },
      'response_format.json_schema.schema',
    ],
    [
      { response_format: { type: 'json_schema', json_schema: { name: 's', schema: {}, strict: true } } },
      'response_format.json_schema.schema',
    ],
    [{ logit_bias: { 1: 5 } }, 'logit_bias'],
    [{ reasoning_effort: 'low' }, 'reasoning_effort'],
    [{ audio: { voice: 'x' } }, 'audio'],
    [{ store: true }, 'store'],
    [{ prompt: 'x' }, 'prompt'],
    [{ surprise: 1 }, 'surprise'],
    [{ top_logprobs: 3 }, 'top_logprobs'],
    [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
    [{ logprobs: 1 }, 'logprobs'],
    [{ max_tokens: 65 }, 'max_tokens'],
    [{ max_completion_tokens: 0 }, 'max_completion_tokens'],
    [{ max_tokens: 2, max_completion_tokens: 3 }, 'max_tokens'],
  ])('%j', async (changes, param) => {
    const service = await startChat();
    const answer = await service.post('/v1/chat/completions', { model: 'chat', messages: HELLO, ...changes });
    expect(answer.status).toBe(400);
    const { error } = (await answer.json()) as Failure;
    expect(error).toMatchObject({ type: 'invalid_request_error', code: 'INVALID_INPUT', param });
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'refused', reason: 'INVALID_INPUT' }]);
  });

  test('nothing that changes nothing', async () => {
    const service = await startChat();
    const neutral = {
      user: 'u',
      tools: [],
      tool_choice: 'none',
      parallel_tool_calls: true,
      response_format: { type: 'text' },
      store: false,
      logit_bias: {},
      stop: null,
      max_tokens: 5,
      max_completion_tokens: 5,
    };
    const answer = await service.post('/v1/chat/completions', { model: 'chat', messages: HELLO, ...neutral });
    expect(answer.status).toBe(200);
  });
});

describe('the receipt of a generation', () => {
  test('has the parameters as applied, and a commitment to what can hold content', async () => {
    const service = await startChat();
    const stop = ['my secret end', 'é'];
    const answer = await service.post('/v1/chat/completions', {
      model: 'chat',
      messages: HELLO,
      max_completion_tokens: 7,
      temperature: 1e-7,
      seed: 42,
      top_p: 0.9,
      top_k: 3,
      frequency_penalty: 0.5,
      presence_penalty: -1,
      logprobs: true,
      top_logprobs: 2,
      n: 2,
      stop,
    });
    const [claims] = issuedClaims(service);
    const { stop: commitment, ...stated } = Object.fromEntries(claims!.parameters);
    expect(stated).toEqual({
      max_tokens: '7',
      temperature: '0.0000001',
      seed: '42',
      top_p: '0.9',
      top_k: '3',
      frequency_penalty: '0.5',
      presence_penalty: '-1',
      logprobs: '2',
      n: '2',
      stream: 'false',
    });
    expect(commitment).toHaveLength(32);
    const k = Buffer.from(answer.headers.get('vouchsafe-commitment-key')!, 'base64url');
    const check = (value: unknown): void =>
      checkParameter(claims!, { k, name: 'stop', value: Buffer.from(JSON.stringify(value)) }, nodeCrypto);
    check(stop);
    expect(() => check(['my secret end'])).toThrow(expect.objectContaining({ code: 'COMMITMENT_MISMATCH' }));
    const [plain] = await (async () => {
      await service.post('/v1/chat/completions', { model: 'chat', messages: HELLO });
      return issuedClaims(service).slice(1);
    })();
    expect(() => checkParameter(plain!, { k, name: 'stop', value: Buffer.from('[]') }, nodeCrypto)).toThrow(
      'commits to no parameter stop',
    );
  });

  test('has the seed that the service drew, so that the answer can be made again', async () => {
    const service = await startChat();
    for (let i = 0; i < 2; i++) {
      await service.post('/v1/chat/completions', { model: 'chat', messages: HELLO, temperature: 1 });
    }
    const seeds = issuedClaims(service).map(({ parameters }) => parameters.get('seed'));
    expect(seeds).toEqual([expect.stringMatching(/^\d{1,15}$/), expect.stringMatching(/^\d{1,15}$/)]);
    expect(seeds[0]).not.toBe(seeds[1]);
  });

  test.each([
    [0.1, '0.1'],
    [1e-7, '0.0000001'],
    [-1.25e-9, '-0.00000000125'],
    [5e-324, `0.${'0'.repeat(323)}5`],
    [2 ** 53 - 1, '9007199254740991'],
    [1.5e21, '1500000000000000000000'],
  ])('writes %d without an exponent', (value, text) => {
    expect(decimal(value)).toBe(text);
    expect(Number(text)).toBe(value);
  });
});
