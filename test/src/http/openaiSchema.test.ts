import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, jest, test } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Engine } from '../../../src/engine/engine.ts';
import { describeCorpus } from '../../support/corpus.ts';
import { startTestEngine } from '../../support/engine.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { copyShipped } from '../../support/store.ts';

// The engine loads two models; other suites may hold the cores meanwhile.
jest.setTimeout(120_000);

const TEMPLATE = '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:';
const CHAT = {
  model: 'tinygpt-1m',
  messages: [{ role: 'user', content: 'The people of' }],
  max_completion_tokens: 8,
};

type Schema = Readonly<Record<string, unknown>>;

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The document says OpenAPI 3.1, yet its schemas of streams write `nullable`, which 3.1 no longer has. Objects are
 * closed here: a member that the API does not have is an error.
 */
function prepare(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(prepare);
  if (!isSchema(value)) return value;
  const entries = Object.entries(value).map(([name, part]) => [name, prepare(part)] as const);
  const { nullable, ...schema } = Object.fromEntries(entries) as Record<string, unknown>;
  if (isSchema(schema['properties'])) schema['additionalProperties'] ??= false;
  return nullable === true ? { anyOf: [schema, { type: 'null' }] } : schema;
}

describeCorpus('answers have the form that OpenAI documents:', 'standards/vectors/inference', (folder) => {
  const document = JSON.parse(readFileSync(join(folder, 'openai-subset.openapi.json'), 'utf8')) as {
    components: { schemas: { Model: object } };
  };
  // What a model does, and its identity in receipts, are additions to the API.
  Object.assign(document.components.schemas.Model, { additionalProperties: true });
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema(prepare(document) as object, 'openai');

  const fits = (schema: string, value: unknown): void => {
    const validate = ajv.compile({ $ref: `openai#/components/schemas/${schema}` });
    validate(value);
    expect({ schema, errors: validate.errors }).toEqual({ schema, errors: null });
  };

  let engine: Engine;
  let service: TestService;
  beforeAll(async () => {
    const store = await copyShipped();
    await writeFile(join(store, 'tinygpt-1m/chat_template.jinja'), TEMPLATE);
    engine = await startTestEngine(store);
  });
  afterAll(() => engine.close());
  beforeEach(async () => {
    service = await startTestService({}, { engine });
  });

  const post = async (path: string, body: unknown, status = 200): Promise<unknown> => {
    const answer = await service.post(path, body);
    expect(answer.status).toBe(status);
    return answer.json();
  };
  const get = async (path: string, status = 200): Promise<unknown> => {
    const answer = await fetch(service.url + path);
    expect(answer.status).toBe(status);
    return answer.json();
  };

  test('the schemas refuse what is no answer', () => {
    expect(() => {
      fits('CreateEmbeddingResponse', { object: 'list', data: [{}], model: 'x' });
    }).toThrow();
    expect(() => {
      fits('ErrorResponse', { error: { message: 'x', type: 'y', param: null } });
    }).toThrow();
    expect(() => {
      fits('ErrorResponse', { error: { message: 'x', type: 'y', param: null, code: null, more: 1 } });
    }).toThrow();
  });

  test.each([
    ['plain', {}],
    ['sampled', { temperature: 1, seed: 7, top_p: 0.9, frequency_penalty: 1, presence_penalty: 1 }],
    ['several', { n: 3, temperature: 1 }],
    ['stopped', { stop: [' ', 'e'] }],
    ['with log-probabilities', { logprobs: true, top_logprobs: 3 }],
  ])('chats, %s', async (_name, settings) => {
    const body = { ...CHAT, ...settings };
    fits('CreateChatCompletionResponse', await post('/v1/chat/completions', body));
    const streaming = { ...body, stream: true, stream_options: { include_usage: true } };
    const text = await (await service.post('/v1/chat/completions', streaming)).text();
    const chunks = [...text.matchAll(/^data: (\{"id":"chatcmpl.*\})$/gm)];
    expect(chunks.length).toBeGreaterThan(1);
    for (const [, chunk] of chunks) fits('CreateChatCompletionStreamResponse', JSON.parse(chunk!));
  });

  // Base64, which the API gives when asked, is not in the document.
  test.each([
    ['one', 'hello there'],
    ['several', ['hello', 'there']],
  ])('embeddings of %s', async (_name, input) => {
    const body = { model: 'glove-sif-100d', input, encoding_format: 'float' };
    fits('CreateEmbeddingResponse', await post('/v1/embeddings', body));
  });

  test('models', async () => {
    fits('ListModelsResponse', await get('/v1/models'));
    fits('Model', await get('/v1/models/glove-sif-100d'));
  });

  test('errors of every route', async () => {
    const { model } = CHAT;
    for (const [path, body, status] of [
      ['/v1/chat/completions', { ...CHAT, surprise: 1 }, 400],
      ['/v1/chat/completions', { ...CHAT, model: 'none' }, 404],
      ['/v1/chat/completions', '{', 400],
      ['/v1/completions', { model, prompt: 'the '.repeat(600) }, 400],
      ['/v1/completions', { model }, 400],
      ['/v1/embeddings', { model: 'glove-sif-100d', input: '' }, 400],
      ['/v1/embeddings', { model, input: 'x' }, 400],
      ['/v1/responses', { model, input: 'x', previous_response_id: 'r' }, 400],
      ['/v1/responses', { model, input: 'the '.repeat(600) }, 400],
    ] as const) {
      fits('ErrorResponse', await post(path, body, status));
    }
    fits('ErrorResponse', await get('/v1/models/none', 404));
    fits('ErrorResponse', await get('/v1/chat/completions', 405));
    fits('ErrorResponse', await get('/v1/responses', 405));
  });
});
