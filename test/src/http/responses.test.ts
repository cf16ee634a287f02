import { describe, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { checkResponse } from '../../../attestation/receipt/opening.ts';
import { streamChunks } from '../../../src/client/events.ts';
import { VouchingError } from '../../../src/receipts/errors.ts';
import { issuedClaims, startTestService, type TestService, until } from '../../support/service.ts';

const TEMPLATE = '{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}{{ eos_token }}';

/** A service whose model `chat` echoes the words of the templated prompt. */
async function startResponses(template = TEMPLATE): Promise<TestService> {
  const service = await startTestService();
  const chatTemplate = { template, bosToken: '<s>', eosToken: 'end' };
  service.engine.models.set('chat', { ...service.engine.models.get('fake')!, id: 'chat', chatTemplate });
  return service;
}

const clientOf = ({ url }: TestService): OpenAI =>
  new OpenAI({ apiKey: 'any', baseURL: `${url}/v1`, maxRetries: 0 });

const ask = (service: TestService, body: object): Promise<Response> =>
  service.post('/v1/responses', { model: 'chat', input: 'hello there', ...body });

interface Event {
  readonly type: string;
  readonly sequence_number: number;
  readonly delta?: string;
  readonly [name: string]: unknown;
}

async function eventsOf(
  answer: Response,
): Promise<{ chunks: readonly Uint8Array[]; events: readonly Event[] }> {
  const chunks = streamChunks(new Uint8Array(await answer.arrayBuffer()));
  return { chunks, events: chunks.map((chunk) => JSON.parse(Buffer.from(chunk).toString()) as Event) };
}

describe('a response', () => {
  test('has one message of one text', async () => {
    const service = await startResponses();
    const answer = await ask(service, {});
    expect(answer.status).toBe(200);
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    expect(await answer.json()).toEqual({
      id: `resp_${id}`,
      object: 'response',
      created_at: expect.any(Number),
      model: 'chat',
      status: 'completed',
      error: null,
      incomplete_details: null,
      usage: {
        input_tokens: 4,
        input_tokens_details: { cached_tokens: 0 },
        output_tokens: 4,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: 8,
      },
      instructions: null,
      max_output_tokens: null,
      metadata: {},
      parallel_tool_calls: false,
      previous_response_id: null,
      store: false,
      temperature: 0,
      text: { format: { type: 'text' } },
      tool_choice: 'none',
      tools: [],
      top_p: 1,
      truncation: 'disabled',
      output: [
        {
          id: `msg_${id}`,
          type: 'message',
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text: 'user:hellothereend', annotations: [], logprobs: [] }],
        },
      ],
    });
    const [claims] = issuedClaims(service);
    expect(claims).toMatchObject({ path: '/v1/responses', outcome: 'complete' });
    expect(Object.fromEntries(claims!.parameters)).toEqual({
      max_tokens: '64',
      temperature: '0',
      stream: 'false',
    });
    expect(Object.fromEntries(claims!.usage)).toEqual({
      prompt_tokens: 4,
      completion_tokens: 4,
      total_tokens: 8,
    });
  });

  test('takes messages of all roles, parts of text, and what a response had', async () => {
    const service = await startResponses('{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}');
    const client = clientOf(service);
    const first = await client.responses.create({ model: 'chat', input: 'x' });
    const answer = await client.responses.create({
      model: 'chat',
      instructions: 'i',
      input: [
        { role: 'developer', content: 'a' },
        {
          type: 'message',
          role: 'user',
          content: [
            { type: 'input_text', text: 'b' },
            { type: 'input_text', text: 'c' },
          ],
        },
        ...first.output,
        { role: 'assistant', content: 'd' },
      ] as OpenAI.Responses.ResponseInput,
    });
    expect(answer.output_text).toBe('system=i;system=a;user=bc;assistant=user=x;;assistant=d;');
    expect(answer.instructions).toBe('i');
  });

  test('echoes metadata and what was asked', async () => {
    const service = await startResponses();
    const metadata = { purpose: 'test' };
    const answer = await ask(service, {
      metadata,
      max_output_tokens: 9,
      temperature: 0.5,
      top_p: 0.25,
      seed: 7,
    });
    expect(await answer.json()).toMatchObject({
      metadata,
      max_output_tokens: 9,
      temperature: 0.5,
      top_p: 0.25,
    });
    expect(Object.fromEntries(issuedClaims(service)[0]!.parameters)).toEqual({
      max_tokens: '9',
      temperature: '0.5',
      seed: '7',
      top_p: '0.25',
      stream: 'false',
    });
  });

  test('has the form that is asked for, to which the receipt commits', async () => {
    const service = await startResponses();
    const asked: unknown[] = [];
    const generate = service.engine.generate.bind(service.engine);
    service.engine.generate = (model, prompt, options, onToken) => {
      asked.push(options.constraint);
      return generate(model, prompt, options, onToken);
    };
    const schema = { type: 'object', properties: { a: { type: 'string' } } };
    const formats = [{ type: 'text' }, { type: 'json_object' }, { type: 'json_schema', name: 's', schema }];
    for (const format of formats) {
      const answer = await ask(service, { text: { format } });
      expect(await answer.json()).toMatchObject({ text: { format } });
    }
    expect(asked).toEqual([
      undefined,
      { kind: 'json-object' },
      { kind: 'json-schema', schema, strict: false },
    ]);
    const commitments = issuedClaims(service).map(({ parameters }) => parameters.get('response_format'));
    expect(commitments).toEqual([undefined, expect.any(Uint8Array), expect.any(Uint8Array)]);
  });

  test('that comes to its bound is incomplete, whole and streamed', async () => {
    const service = await startResponses();
    const generate = service.engine.generate.bind(service.engine);
    service.engine.generate = async (...args) => ({
      ...(await generate(...args)),
      finishReason: 'length',
    });
    const incomplete = {
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output: [{ status: 'incomplete', content: [{ text: 'user:hello' }] }],
    };
    const answer = await ask(service, { max_output_tokens: 2 });
    expect(await answer.json()).toMatchObject(incomplete);
    const { events } = await eventsOf(await ask(service, { max_output_tokens: 2, stream: true }));
    expect(events.at(-1)).toMatchObject({ type: 'response.incomplete', response: incomplete });
  });

  test('of a model without a template, or that does not generate, is refused by code', async () => {
    const service = await startResponses();
    const template = await ask(service, { model: 'fake' });
    expect(await template.json()).toMatchObject({ error: { code: 'CHAT_TEMPLATE_MISSING', param: 'model' } });
    service.engine.models.set('embed', {
      ...service.engine.models.get('chat')!,
      id: 'embed',
      tasks: ['embed'],
    });
    const task = await ask(service, { model: 'embed' });
    expect(await task.json()).toMatchObject({ error: { code: 'UNSUPPORTED_TASK', param: 'model' } });
    expect((await ask(service, { model: 'none' })).status).toBe(404);
  });

  test('whose input the template refuses is not quoted', async () => {
    const service = await startResponses("{{ raise_exception('bad ' + messages[0].content) }}");
    const answer = await ask(service, { input: 'secret' });
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({ error: { param: 'input', code: 'INVALID_INPUT' } });
    expect(text + service.lines.join('')).not.toContain('secret');
  });
});

describe('a response is refused, with the parameter named, for', () => {
  const item = (members: object): object => ({ input: [{ role: 'user', content: 'x', ...members }] });
  test.each<[object, string]>([
    [{ input: undefined }, 'input'],
    [{ input: [] }, 'input'],
    [{ input: [3, 4] }, 'input[0]'],
    [item({ type: 'function_call_output' }), 'input[0].type'],
    [item({ role: 'robot' }), 'input[0].role'],
    [item({ content: undefined }), 'input[0].content'],
    [item({ content: [] }), 'input[0].content'],
    [item({ content: [{ type: 'output_text', text: 'x' }] }), 'input[0].content'],
    [item({ role: 'assistant', content: [{ type: 'input_text', text: 'x' }] }), 'input[0].content'],
    [item({ content: [{ type: 'input_image', image_url: 'x' }] }), 'input[0].content'],
    [item({ content: [{ type: 'input_text', text: 'x', extra: 1 }] }), 'input[0].content.extra'],
    [item({ name: 'bob' }), 'input[0].name'],
    [{ instructions: 1 }, 'instructions'],
    [{ max_output_tokens: 0 }, 'max_output_tokens'],
    [{ max_output_tokens: 65 }, 'max_output_tokens'],
    [{ temperature: 2.5 }, 'temperature'],
    [{ top_p: -1 }, 'top_p'],
    [{ top_k: 0.5 }, 'top_k'],
    [{ seed: 'x' }, 'seed'],
    [{ stream: 1 }, 'stream'],
    [{ metadata: 'x' }, 'metadata'],
    [{ metadata: { a: 1 } }, 'metadata'],
    [{ metadata: { ['n'.repeat(65)]: 'x' } }, 'metadata'],
    [{ metadata: { a: 'x'.repeat(513) } }, 'metadata'],
    [{ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`m${i}`, 'x'])) }, 'metadata'],
    [{ text: 'x' }, 'text'],
    [{ text: { verbosity: 'low' } }, 'text.verbosity'],
    [{ text: { format: 'text' } }, 'text.format'],
    [{ text: { format: { type: 'grammar' } } }, 'text.format.type'],
    [{ text: { format: { type: 'json_object', schema: {} } } }, 'text.format'],
    [{ text: { format: { type: 'json_schema', schema: {} } } }, 'text.format.name'],
    [{ text: { format: { type: 'json_schema', name: 's', schema: { not: {} } } } }, 'text.format.schema'],
    [{ text: { format: { type: 'json_schema', name: 's', schema: {}, strict: 1 } } }, 'text.format.strict'],
    [{ previous_response_id: 'resp_1' }, 'previous_response_id'],
    [{ conversation: 'c' }, 'conversation'],
    [{ store: true }, 'store'],
    [{ background: true }, 'background'],
    [{ include: ['message.output_text.logprobs'] }, 'include'],
    [{ tools: [{ type: 'web_search' }] }, 'tools'],
    [{ tool_choice: 'required' }, 'tool_choice'],
    [{ reasoning: { effort: 'low' } }, 'reasoning'],
    [{ truncation: 'auto' }, 'truncation'],
    [{ stream_options: { include_usage: true }, stream: true }, 'stream_options'],
    [{ stop: 'x' }, 'stop'],
    [{ n: 2 }, 'n'],
    [{ max_tokens: 2 }, 'max_tokens'],
    [{ messages: [] }, 'messages'],
    [{ toString: 1 }, 'toString'],
  ])('%j', async (changes, param) => {
    const service = await startResponses();
    const answer = await ask(service, changes);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      error: { type: 'invalid_request_error', code: 'INVALID_INPUT', param },
    });
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'refused', reason: 'INVALID_INPUT' }]);
  });

  test('nothing that changes nothing', async () => {
    const service = await startResponses();
    const answer = await ask(service, {
      background: false,
      include: [],
      instructions: null,
      max_output_tokens: null,
      metadata: null,
      parallel_tool_calls: true,
      previous_response_id: null,
      prompt_cache_key: 'a',
      reasoning: null,
      safety_identifier: 'b',
      store: false,
      text: { format: { type: 'text' }, verbosity: null },
      tool_choice: 'auto',
      tools: [],
      truncation: 'disabled',
      user: 'c',
    });
    expect(answer.status).toBe(200);
  });

  test('another method, in the words of the API', async () => {
    const service = await startResponses();
    const answer = await fetch(`${service.url}/v1/responses`);
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST']);
    expect(await answer.json()).toMatchObject({ error: { code: 'METHOD_NOT_ALLOWED', param: null } });
  });
});

describe('a streamed response', () => {
  test('has its events in order, numbered, and a receipt of all of them', async () => {
    const service = await startResponses();
    const answer = await ask(service, { stream: true });
    const text = await answer.clone().text();
    expect(text).not.toContain('[DONE]');
    expect(text.trimEnd().split('\n\n').at(-1)).toMatch(/^event: vouchsafe\.receipt\ndata: \{/);
    const { chunks, events } = await eventsOf(answer);
    expect(events.map(({ type }) => type)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      ...new Array<string>(4).fill('response.output_text.delta'),
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ]);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => i));
    // The name of each event is the type in its data.
    const names = [...text.matchAll(/^event: (response\..*)\ndata: \{"type":"([^"]*)"/gm)];
    expect(names).toHaveLength(events.length);
    expect(names.every(([, name, type]) => name === type)).toBe(true);
    expect(events.map(({ delta }) => delta ?? '').join('')).toBe('user:hellothereend');
    const whole = (await (await ask(service, {})).json()) as { output: [{ content: unknown[] }] };
    const { response } = events.at(-1) as unknown as { response: typeof whole };
    expect(response.output[0].content).toEqual(whole.output[0].content);
    const k = Buffer.from(answer.headers.get('vouchsafe-commitment-key')!, 'base64url');
    const [claims] = issuedClaims(service);
    checkResponse(claims!, { k, chunks }, nodeCrypto);
    expect(claims!.parameters.get('stream')).toBe('true');
  });

  test('is read by the client of OpenAI, to which the receipt is one more event', async () => {
    const service = await startResponses();
    const client = clientOf(service);
    const stream = await client.responses.create({ model: 'chat', input: 'hello there', stream: true });
    let text = '';
    const types: string[] = [];
    for await (const event of stream) {
      types.push(event.type);
      if (event.type === 'response.output_text.delta') text += event.delta;
      if (event.type === 'response.completed') expect(event.response.usage!.total_tokens).toBe(8);
    }
    expect(text).toBe('user:hellothereend');
    expect(types.slice(-2)).toEqual(['response.completed', 'vouchsafe.receipt']);
    const final = await client.responses.stream({ model: 'chat', input: 'hello there' }).finalResponse();
    expect(final).toMatchObject({ status: 'completed', output: [{ content: [{ text }] }] });
  });

  test('that fails says so, and its receipt covers it', async () => {
    const service = await startResponses();
    service.engine.failure = 'ENGINE_FAILED';
    const answer = await ask(service, { stream: true });
    const { chunks, events } = await eventsOf(answer);
    expect(events.at(-1)).toMatchObject({
      type: 'response.failed',
      sequence_number: events.length - 1,
      response: {
        status: 'failed',
        output: [],
        error: { code: 'server_error', message: expect.stringContaining('ENGINE_FAILED') },
      },
    });
    const k = Buffer.from(answer.headers.get('vouchsafe-commitment-key')!, 'base64url');
    const [claims] = issuedClaims(service);
    expect(claims).toMatchObject({ outcome: 'error', reason: 'ENGINE_FAILED' });
    checkResponse(claims!, { k, chunks }, nodeCrypto);
  });

  test('that fails before its first text is a plain error', async () => {
    const service = await startResponses('{{ messages[0].content }}');
    service.engine.failure = 'INVALID_INPUT';
    const failure = await clientOf(service)
      .responses.create({ model: 'chat', input: 'x', stream: true })
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OpenAI.BadRequestError);
    expect(failure).toMatchObject({ status: 400, code: 'INVALID_INPUT' });
  });

  test('without a receipt is never completed', async () => {
    const service = await startResponses();
    service.engine.held = true;
    const answer = await ask(service, { stream: true });
    service.world.vouching.issue = () =>
      Promise.reject(new VouchingError('ISSUING_STOPPED', 'the disk is gone'));
    service.engine.release();
    const { events } = await eventsOf(answer);
    expect(events.map(({ type }) => type)).not.toContain('response.completed');
    expect(events.at(-1)).toMatchObject({
      type: 'response.failed',
      response: { error: { message: expect.stringContaining('NOT_VOUCHING') } },
    });
  });

  test('ends when its client goes away', async () => {
    const service = await startResponses();
    service.engine.held = true;
    const stream = await clientOf(service).responses.create({ model: 'chat', input: 'a b', stream: true });
    for await (const { type } of stream) {
      expect(type).not.toBe('response.completed');
      stream.controller.abort();
    }
    await until(() => issuedClaims(service).length === 1);
    expect(issuedClaims(service)[0]).toMatchObject({ outcome: 'aborted', reason: 'CANCELLED' });
  });
});
