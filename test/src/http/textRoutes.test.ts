import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import OpenAI from 'openai';
import type { Engine } from '../../../src/engine/engine.ts';
import { startTestEngine } from '../../support/engine.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { makeStore, SHIPPED_MODELS } from '../../support/store.ts';

// The engine loads a model; other suites may hold the cores meanwhile.
jest.setTimeout(120_000);

const FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'onnx/model.onnx'];
/** The prompt is the text itself, so that every route asks the model for the same. */
const TEMPLATE = '{% for m in messages %}{{ m.content }}{% endfor %}';
const PROMPT = 'The people of';

let engine: Engine;
let service: TestService;
let client: OpenAI;
beforeAll(async () => {
  const files = FILES.map((path) => [`gpt/${path}`, readFileSync(join(SHIPPED_MODELS, 'tinygpt-1m', path))]);
  engine = await startTestEngine(
    await makeStore({
      ...(Object.fromEntries(files) as Record<string, Uint8Array>),
      'gpt/generation_config.json': JSON.stringify({ eos_token_id: 0 }),
      'gpt/chat_template.jinja': TEMPLATE,
    }),
  );
});
afterAll(() => engine.close());
beforeEach(async () => {
  service = await startTestService({}, { engine });
  client = new OpenAI({ apiKey: 'any', baseURL: `${service.url}/v1`, maxRetries: 0 });
});

type Settings = Readonly<Record<string, unknown>>;

async function generated(parameters: Settings = {}): Promise<string> {
  const body = { text_input: PROMPT, parameters: { max_tokens: 24, ...parameters } };
  const answer = await service.post('/v2/models/gpt/generate', body);
  return ((await answer.json()) as { text_output: string }).text_output;
}

async function streamed(parameters: Settings = {}): Promise<string> {
  const body = { text_input: PROMPT, parameters: { max_tokens: 24, ...parameters } };
  const text = await (await service.post('/v2/models/gpt/generate_stream', body)).text();
  const outputs = [...text.matchAll(/^data: (\{"model_name".*\})$/gm)];
  return outputs.map(([, json]) => (JSON.parse(json!) as { text_output: string }).text_output).join('');
}

async function responded(settings: Settings = {}): Promise<string> {
  const body = { model: 'gpt', input: PROMPT, max_output_tokens: 24, ...settings };
  return (await client.responses.create({ ...body, stream: false })).output_text;
}

async function completed(settings: Settings = {}): Promise<string> {
  const body = { model: 'gpt', prompt: PROMPT, max_tokens: 24, ...settings };
  return (await client.completions.create({ ...body, stream: false })).choices[0]!.text;
}

describe('the text routes', () => {
  test('give the same text for the same settings', async () => {
    for (const settings of [
      {},
      { temperature: 1, seed: 7 },
      { temperature: 1.5, seed: 7, top_p: 0.6 },
      { temperature: 1.5, seed: 7, top_k: 5 },
    ]) {
      const text = await completed(settings);
      expect(await generated(settings)).toBe(text);
      expect(await streamed(settings)).toBe(text);
      expect(await responded(settings)).toBe(text);
    }
  });

  test.each<[string, Settings, Settings]>([
    ['max_tokens', { max_tokens: 24 }, { max_tokens: 5 }],
    ['temperature', { seed: 7, temperature: 1 }, { seed: 7, temperature: 1.9 }],
    ['seed', { temperature: 1, seed: 7 }, { temperature: 1, seed: 8 }],
    ['top_p', { temperature: 2, seed: 7 }, { temperature: 2, seed: 7, top_p: 0.3 }],
    ['top_k', { temperature: 2, seed: 7 }, { temperature: 2, seed: 7, top_k: 3 }],
    ['stop', {}, { stop: 'States' }],
    ['stop, a list', {}, { stop: ['never comes', 'States'] }],
    ['frequency_penalty', { max_tokens: 60 }, { max_tokens: 60, frequency_penalty: 2 }],
    ['presence_penalty', { max_tokens: 60 }, { max_tokens: 60, presence_penalty: 2 }],
  ])('of Triton have the parameter %s', async (_name, one, other) => {
    const [first, second] = [await generated(one), await generated(other)];
    expect(first).not.toBe(second);
    expect(await streamed(other)).toBe(second);
  });

  test.each<[string, Settings, Settings]>([
    ['max_output_tokens', {}, { max_output_tokens: 5 }],
    ['temperature', { seed: 7, temperature: 1 }, { seed: 7, temperature: 1.9 }],
    ['seed', { temperature: 1, seed: 7 }, { temperature: 1, seed: 8 }],
    ['top_p', { temperature: 2, seed: 7 }, { temperature: 2, seed: 7, top_p: 0.3 }],
    ['top_k', { temperature: 2, seed: 7 }, { temperature: 2, seed: 7, top_k: 3 }],
    ['instructions', {}, { instructions: 'Once upon a time ' }],
  ])('of responses have the parameter %s', async (_name, one, other) => {
    expect(await responded(one)).not.toBe(await responded(other));
  });

  test('stream responses as they are whole, and say why they ended', async () => {
    const body = { model: 'gpt', input: PROMPT, max_output_tokens: 24 };
    let text = '';
    let reason: string | undefined;
    for await (const event of await client.responses.create({ ...body, stream: true })) {
      if (event.type === 'response.output_text.delta') text += event.delta;
      if (event.type === 'response.incomplete') reason = event.response.incomplete_details?.reason;
    }
    expect(text).toBe(await responded());
    expect(reason).toBe('max_output_tokens');
    const whole = await client.responses.create(body);
    expect(whole.usage).toMatchObject({ input_tokens: 4, output_tokens: 24, total_tokens: 28 });
  });

  test('complete several prompts as each would be alone', async () => {
    const prompts = [PROMPT, 'Congress shall make'];
    const sampled = { temperature: 1, seed: 7 };
    const body = { model: 'gpt', prompt: prompts, max_tokens: 24, n: 2, ...sampled };
    const { choices, usage } = await client.completions.create(body);
    const alone = await Promise.all(prompts.map((prompt) => client.completions.create({ ...body, prompt })));
    expect(choices.map(({ text }) => text)).toEqual(
      alone.flatMap((answer) => answer.choices.map(({ text }) => text)),
    );
    const total = alone.reduce((sum, answer) => sum + answer.usage!.total_tokens, 0);
    expect(usage!.total_tokens).toBe(total);
    const texts = ['', '', '', ''];
    for await (const chunk of await client.completions.create({ ...body, stream: true })) {
      for (const { index, text } of chunk.choices) texts[index] = texts[index]! + text;
    }
    expect(texts).toEqual(choices.map(({ text }) => text));
  });

  test('complete token ids, whose bound is the vocabulary', async () => {
    const text = await completed({ prompt: [20, 300, 40] });
    expect(await completed({ prompt: [[20, 300, 40]] })).toBe(text);
    expect(await completed({ prompt: [40, 300, 20] })).not.toBe(text);
    const outside = completed({ prompt: [20, 10_000_000] });
    await expect(outside).rejects.toMatchObject({ status: 400, code: 'INVALID_INPUT' });
  });
});
