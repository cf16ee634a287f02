import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import OpenAI from 'openai';
import type { Engine } from '../../../src/engine/engine.ts';
import { startTestEngine } from '../../support/engine.ts';
import { issuedClaims, startTestService, type TestService, until } from '../../support/service.ts';
import { makeStore, SHIPPED_MODELS } from '../../support/store.ts';

// The engine loads three models; other suites may hold the cores meanwhile.
jest.setTimeout(120_000);

const FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'onnx/model.onnx'];
const TEMPLATE = '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:';
const PROMPT = 'The people of';
/** What the model says greedily: its own likeliest tokens, since before there was sampling. */
const GREEDY =
  ' the United States. Theregests of the United States, and the United States, and the United States,';
const MESSAGES = [{ role: 'user' as const, content: 'The people of' }];

let engine: Engine;
let service: TestService;
let client: OpenAI;
beforeAll(async () => {
  const files = (name: string): object =>
    Object.fromEntries(
      FILES.map((path) => [`${name}/${path}`, readFileSync(join(SHIPPED_MODELS, 'tinygpt-1m', path))]),
    );
  const greedy = JSON.stringify({ eos_token_id: 0 });
  const sampled = JSON.stringify({ eos_token_id: 0, do_sample: true, temperature: 0.9, top_k: 40 });
  engine = await startTestEngine(
    await makeStore({
      ...files('plain'),
      'plain/generation_config.json': greedy,
      ...files('chat'),
      'chat/generation_config.json': greedy,
      'chat/chat_template.jinja': TEMPLATE,
      ...files('tools'),
      'tools/generation_config.json': greedy,
      'tools/chat_template.jinja': `{% if tools %}{{ tools | tojson }}{% endif %}${TEMPLATE}`,
      ...files('sampled'),
      'sampled/generation_config.json': sampled,
    }),
  );
});
afterAll(() => engine.close());
beforeEach(async () => {
  service = await startTestService({}, { engine });
  client = new OpenAI({ apiKey: 'any', baseURL: `${service.url}/v1`, maxRetries: 0 });
});

type Settings = Partial<OpenAI.Completions.CompletionCreateParamsNonStreaming> & { top_k?: number };

function complete(settings: Settings = {}): Promise<OpenAI.Completion> {
  return client.completions.create({ model: 'plain', prompt: PROMPT, max_tokens: 24, ...settings });
}

async function textOf(settings: Settings = {}): Promise<string> {
  return (await complete(settings)).choices[0]!.text;
}

describe('structured output', () => {
  const schema = {
    type: 'object',
    properties: { kind: { enum: ['state', 'people'] }, count: { type: 'integer', minimum: 1, maximum: 99 } },
    required: ['kind', 'count'],
    additionalProperties: false,
  };
  const tools = [
    { type: 'function' as const, function: { name: 'count_people', parameters: schema, strict: true } },
  ];

  test('is JSON that the schema describes, whole or streamed', async () => {
    const response_format = {
      type: 'json_schema',
      json_schema: { name: 'answer', schema, strict: true },
    } as const;
    const body = { model: 'chat', messages: MESSAGES, max_tokens: 80, response_format };
    const parsed = await client.chat.completions.parse(body);
    expect(parsed.choices[0]).toMatchObject({ finish_reason: 'stop' });
    expect(JSON.parse(parsed.choices[0]!.message.content!)).toEqual({
      kind: expect.stringMatching(/^(?:state|people)$/),
      count: expect.any(Number),
    });
    const final = await client.chat.completions.stream(body).finalMessage();
    expect(final.content).toBe(parsed.choices[0]!.message.content);
  });

  test('is asked of a response as of a chat, whole or streamed', async () => {
    const format = { type: 'json_schema', name: 'answer', schema, strict: true } as const;
    const body = { model: 'chat', input: 'hello', max_output_tokens: 80, text: { format } };
    const whole = await client.responses.create(body);
    expect(whole).toMatchObject({ status: 'completed', text: { format } });
    expect(JSON.parse(whole.output_text)).toEqual({
      kind: expect.stringMatching(/^(?:state|people)$/),
      count: expect.any(Number),
    });
    const final = await client.responses.stream(body).finalResponse();
    expect(final.output[0]).toMatchObject({ content: [{ text: whole.output_text }] });
    const cut = await client.responses.create({ ...body, max_output_tokens: 2 });
    expect(cut).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
    });
    expect(whole.output_text.startsWith(cut.output_text)).toBe(true);
  });

  test('is a call of a tool where one is required, whole or streamed', async () => {
    const body = {
      model: 'tools',
      messages: MESSAGES,
      max_tokens: 120,
      tools,
      tool_choice: 'required',
    } as const;
    const whole = (await client.chat.completions.create(body)).choices[0]!;
    expect(whole).toMatchObject({ finish_reason: 'tool_calls', message: { content: null } });
    const [call] = whole.message.tool_calls!;
    expect(call).toMatchObject({ type: 'function', function: { name: 'count_people' } });
    const final = await client.chat.completions.stream(body).finalMessage();
    const [streamed] = final.tool_calls!;
    expect([call, streamed].map((one) => one!.type === 'function' && one!.function.arguments)).toEqual(
      Array(2).fill(call!.type === 'function' && call!.function.arguments),
    );
    const answered = await client.chat.completions.create({
      ...body,
      messages: [...MESSAGES, whole.message, { role: 'tool', tool_call_id: call!.id, content: '3' }],
      tool_choice: 'none',
    });
    expect(answered.choices[0]!.message.content).not.toBe('');
  });
});

describe('the client of OpenAI', () => {
  test('completes', async () => {
    const answer = await complete();
    expect(answer).toMatchObject({ object: 'text_completion', model: 'plain' });
    expect(answer.choices[0]).toMatchObject({ index: 0, finish_reason: 'length', logprobs: null });
    expect(answer.usage).toEqual({ prompt_tokens: 4, completion_tokens: 24, total_tokens: 28 });
    expect(answer.choices[0]!.text).toBe(GREEDY);
  });

  test('chats, and streams the same', async () => {
    const body = { model: 'chat', messages: MESSAGES, max_completion_tokens: 20 };
    const whole = await client.chat.completions.create(body);
    expect(whole.choices[0]).toMatchObject({ finish_reason: 'length', message: { role: 'assistant' } });
    const options = { stream: true, stream_options: { include_usage: true } } as const;
    const stream = await client.chat.completions.create({ ...body, ...options });
    let text = '';
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage;
    }
    expect(text).toBe(whole.choices[0]!.message.content);
    expect(usage).toEqual(whole.usage);
    const final = await client.chat.completions.stream(body).finalMessage();
    expect(final).toMatchObject({ role: 'assistant', content: text });
  });

  test('aborts, which ends the work', async () => {
    // Enough to do that the client is faster.
    const body = { model: 'chat', messages: MESSAGES, n: 8, stream: true } as const;
    const stream = await client.chat.completions.create(body);
    for await (const chunk of stream) {
      expect(chunk.choices).toHaveLength(1);
      stream.controller.abort();
    }
    await until(() => issuedClaims(service).length === 1);
    expect(issuedClaims(service)[0]).toMatchObject({ outcome: 'aborted', reason: 'CANCELLED' });
    await until(() => engine.health().pending === 0);
  });

  test('reads errors', async () => {
    const failure = await client.chat.completions
      .create({ model: 'chat', messages: MESSAGES, store: true })
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OpenAI.BadRequestError);
    expect(failure).toMatchObject({
      status: 400,
      code: 'INVALID_INPUT',
      param: 'store',
      type: 'invalid_request_error',
    });
    const missing = client.chat.completions.create({ model: 'plain', messages: MESSAGES });
    await expect(missing).rejects.toMatchObject({ status: 400, code: 'CHAT_TEMPLATE_MISSING' });
    const long = client.completions.create({ model: 'plain', prompt: 'the '.repeat(600) });
    await expect(long).rejects.toMatchObject({ status: 400, code: 'INVALID_INPUT' });
    await expect(client.completions.create({ model: 'none', prompt: 'x' })).rejects.toBeInstanceOf(
      OpenAI.NotFoundError,
    );
  });
});

describe('every parameter changes the answer:', () => {
  const SAMPLED: Settings = { temperature: 1, seed: 7 };

  test('temperature and seed, which make it repeatable', async () => {
    const first = await textOf(SAMPLED);
    expect(await textOf(SAMPLED)).toBe(first);
    const [again] = await Promise.all([textOf(SAMPLED), textOf({ ...SAMPLED, seed: 8 }), textOf()]);
    expect(again).toBe(first);
    expect(await textOf({ ...SAMPLED, seed: 8 })).not.toBe(first);
    expect(await textOf({ ...SAMPLED, seed: -8 })).not.toBe(first);
    expect(await textOf({ ...SAMPLED, temperature: 1.7 })).not.toBe(first);
    expect(await textOf()).not.toBe(first);
    expect(await textOf({ seed: 7, temperature: 0 })).toBe(await textOf());
  });

  test('a seed that the receipt names makes the same answer', async () => {
    const text = await textOf({ temperature: 1.3 });
    const seed = Number(issuedClaims(service)[0]!.parameters.get('seed'));
    expect(await textOf({ temperature: 1.3, seed })).toBe(text);
  });

  test('top_p and top_k, at whose ends lie greed and no limit', async () => {
    const free = await textOf({ ...SAMPLED, temperature: 2 });
    for (const limit of [{ top_p: 0.3 }, { top_k: 3 }]) {
      const limited = await textOf({ ...SAMPLED, temperature: 2, ...limit });
      expect(limited).not.toBe(free);
      expect(limited).not.toBe(await textOf());
    }
    expect(await textOf({ ...SAMPLED, top_k: 1 })).toBe(await textOf());
    expect(await textOf({ ...SAMPLED, top_p: 0 })).toBe(await textOf());
    expect(await textOf({ ...SAMPLED, temperature: 2, top_p: 1, top_k: 1024 })).toBe(free);
  });

  test('frequency_penalty and presence_penalty, against repetition', async () => {
    const distinct = async (settings: Settings): Promise<number> => {
      const answer = await complete({ max_tokens: 100, logprobs: 0, ...settings });
      return new Set(answer.choices[0]!.logprobs!.tokens).size;
    };
    const plain = await distinct({});
    expect(await distinct({ frequency_penalty: 2 })).toBeGreaterThan(plain);
    expect(await distinct({ presence_penalty: 2 })).toBeGreaterThan(plain);
    expect(await distinct({ frequency_penalty: -2 })).toBeLessThan(plain);
  });

  test('n, whose choices are drawn apart and counted together', async () => {
    const answer = await complete({ ...SAMPLED, n: 3 });
    const texts = answer.choices.map(({ text }) => text);
    expect(new Set(texts).size).toBe(3);
    expect(texts[0]).toBe(await textOf(SAMPLED));
    expect(answer.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(answer.usage).toEqual({ prompt_tokens: 4, completion_tokens: 72, total_tokens: 76 });
    const streamed = ['', '', ''];
    const body = { model: 'plain', prompt: PROMPT, max_tokens: 24, temperature: 1, seed: 7, n: 3 };
    for await (const { choices } of await client.completions.create({ ...body, stream: true })) {
      const { index, text } = choices[0]!;
      streamed[index] = streamed[index]! + text;
    }
    expect(streamed).toEqual(texts);
  });

  test('stop, also across tokens and in a stream', async () => {
    const text = await textOf();
    // Wherever it lies: three characters of the text end it where they come first.
    for (let at = 1; at + 3 < text.length; at += 4) {
      const stop = text.slice(at, at + 3);
      const answer = await complete({ stop });
      expect(answer.choices[0]).toMatchObject({
        text: text.slice(0, text.indexOf(stop)),
        finish_reason: 'stop',
      });
      expect(answer.usage!.completion_tokens).toBeLessThanOrEqual(24);
    }
    const stop = ['never comes', text.slice(10, 16)];
    let streamed = '';
    let reason: string | null = null;
    const body = { model: 'plain', prompt: PROMPT, max_tokens: 24, stop, stream: true } as const;
    for await (const { choices } of await client.completions.create(body)) {
      streamed += choices[0]!.text;
      reason = choices[0]!.finish_reason;
    }
    expect([streamed, reason]).toEqual([text.slice(0, text.indexOf(stop[1]!)), 'stop']);
    // What only begins a stop text is kept.
    expect(await textOf({ stop: `${text.slice(-4)}\u0000` })).toBe(text);
  });

  test('max_tokens and echo', async () => {
    const text = await textOf({ max_tokens: 5 });
    expect(await textOf()).not.toBe(text);
    expect(await textOf()).toMatch(text);
    expect(await textOf({ max_tokens: 5, echo: true })).toBe(PROMPT + text);
    let streamed = '';
    const body = { model: 'plain', prompt: PROMPT, max_tokens: 5, echo: true, stream: true } as const;
    for await (const { choices } of await client.completions.create(body)) streamed += choices[0]!.text;
    expect(streamed).toBe(PROMPT + text);
  });

  test('logprobs of completions', async () => {
    const { text, logprobs } = (await complete({ logprobs: 3, max_tokens: 6 })).choices[0]!;
    expect(logprobs!.tokens!.join('')).toBe(text);
    expect(logprobs!.text_offset![2]).toBe(logprobs!.tokens!.slice(0, 2).join('').length);
    for (const [i, token] of logprobs!.tokens!.entries()) {
      const top = logprobs!.top_logprobs![i]!;
      expect(Object.keys(top)).toHaveLength(3);
      // Greedy: the token is the likeliest.
      expect(Math.max(...Object.values(top))).toBe(logprobs!.token_logprobs![i]);
      expect(top[token]).toBe(logprobs!.token_logprobs![i]);
    }
  });

  test('logprobs and top_logprobs of chats, streamed the same', async () => {
    const body = { model: 'chat', messages: MESSAGES, max_tokens: 6, logprobs: true, top_logprobs: 4 };
    const whole = (await client.chat.completions.create(body)).choices[0]!;
    const { content } = whole.logprobs!;
    expect(content!.map(({ token }) => token).join('')).toBe(whole.message.content);
    for (const { token, bytes, logprob, top_logprobs } of content!) {
      expect(Buffer.from(bytes!).toString()).toBe(token);
      expect(logprob).toBeLessThan(0);
      expect(top_logprobs).toHaveLength(4);
      expect(top_logprobs[0]).toEqual({ token, bytes, logprob });
    }
    const streamed: unknown[] = [];
    for await (const { choices } of await client.chat.completions.create({ ...body, stream: true })) {
      streamed.push(...(choices[0]?.logprobs?.content ?? []));
    }
    expect(streamed).toEqual(content);
    const without = await client.chat.completions.create({ ...body, logprobs: true, top_logprobs: null });
    expect(without.choices[0]!.logprobs!.content![0]!.top_logprobs).toEqual([]);
  });

  test("a model's own settings hold where the request is silent", async () => {
    const first = await textOf({ model: 'sampled', seed: 3 });
    expect(Object.fromEntries(issuedClaims(service)[0]!.parameters)).toEqual({
      max_tokens: '24',
      temperature: '0.9',
      seed: '3',
      top_k: '40',
      stream: 'false',
    });
    expect(first).toBe(await textOf({ seed: 3, temperature: 0.9, top_k: 40 }));
    expect(await textOf({ model: 'sampled', temperature: 0 })).toBe(await textOf());
  });
});
