import { describe, expect, test } from '@jest/globals';
import { issuedClaims, startTestService } from '../../support/service.ts';

const EMBED = { model: 'fake', input: 'hello there' };
const TENSOR = { name: 'x', shape: [2], datatype: 'FP32', data: [1, 2] };

interface OpenAiError {
  readonly error: { readonly type: string; readonly param: string | null; readonly code: string };
}

describe('before admission nothing has a receipt', () => {
  const NOT_ADMITTED: readonly (readonly [
    string,
    string,
    string,
    number,
    string,
    Record<string, string>?,
  ])[] = [
    ['no such model', '/v1/embeddings', '{"model":"none","input":"x"}', 404, 'MODEL_NOT_FOUND'],
    ['no model', '/v1/embeddings', '{"input":"x"}', 404, 'MODEL_NOT_FOUND'],
    ['a model of the prototype', '/v1/embeddings', '{"model":["fake"],"input":"x"}', 404, 'MODEL_NOT_FOUND'],
    ['no such version', '/v2/models/fake/versions/2/infer', '{}', 404, 'VERSION_NOT_FOUND'],
    ['no JSON', '/v1/embeddings', '{', 400, 'BODY_INVALID'],
    ['a list', '/v1/embeddings', '[]', 400, 'BODY_INVALID'],
    ['nothing', '/v1/embeddings', '', 400, 'BODY_INVALID'],
    ['a name twice', '/v1/embeddings', '{"model":"fake","model":"fake"}', 400, 'BODY_INVALID'],
    ['__proto__', '/v1/embeddings', '{"__proto__":{"model":"fake"}}', 400, 'BODY_INVALID'],
    [
      'another type',
      '/v1/embeddings',
      '{}',
      415,
      'CONTENT_TYPE_UNSUPPORTED',
      { 'content-type': 'text/plain' },
    ],
    [
      'compression',
      '/v1/embeddings',
      '{}',
      415,
      'CONTENT_ENCODING_UNSUPPORTED',
      { 'content-encoding': 'gzip' },
    ],
    ['a short nonce', '/v1/embeddings', '{}', 400, 'NONCE_INVALID', { 'vouchsafe-nonce': 'ab' }],
    ['a nonce of zeros', '/v1/embeddings', '{}', 400, 'NONCE_INVALID', { 'vouchsafe-nonce': '0'.repeat(64) }],
    [
      'an upper-case nonce',
      '/v1/embeddings',
      '{}',
      400,
      'NONCE_INVALID',
      { 'vouchsafe-nonce': 'AB'.repeat(32) },
    ],
    ['a large body', '/v1/embeddings', 'x'.repeat(2000), 413, 'BODY_TOO_LARGE'],
  ];
  test.each(NOT_ADMITTED)('%s', async (_name, path, body, status, code, headers = {}) => {
    const service = await startTestService({ limits: { bodyBytes: 1024 } });
    const answer = await service.post(path, body, headers);
    expect(answer.status).toBe(status);
    expect(await answer.text()).toContain(code);
    expect(answer.headers.get('vouchsafe-receipt-id')).toBeNull();
    expect(issuedClaims(service)).toEqual([]);
    expect((await service.post('/v1/embeddings', EMBED)).status).toBe(200);
  });
});

describe('what does not fit the model is refused with a receipt', () => {
  test.each([
    ['/v1/embeddings', { ...EMBED, input: [] }, 'input'],
    ['/v1/embeddings', { ...EMBED, input: '' }, 'input'],
    ['/v1/embeddings', { ...EMBED, input: ['a', ''] }, 'input'],
    ['/v1/embeddings', { ...EMBED, input: [1, 'a'] }, 'input'],
    ['/v1/embeddings', { ...EMBED, input: [1.5] }, 'input'],
    ['/v1/embeddings', { ...EMBED, input: [[1], [-1]] }, 'input'],
    ['/v1/embeddings', { ...EMBED, input: [[1], []] }, 'input'],
    ['/v1/embeddings', { ...EMBED, input: [[[1]]] }, 'input'],
    ['/v1/embeddings', { ...EMBED, input: { a: 1 } }, 'input'],
    ['/v1/embeddings', { ...EMBED, dimensions: 2 }, 'dimensions'],
    ['/v1/embeddings', { ...EMBED, encoding_format: 'hex' }, 'encoding_format'],
    ['/v1/embeddings', { ...EMBED, surprise: 1 }, 'surprise'],
    ['/v1/completions', { model: 'fake' }, 'prompt'],
    ['/v1/completions', { model: 'fake', prompt: null }, 'prompt'],
    ['/v1/completions', { model: 'fake', prompt: [] }, 'prompt'],
    ['/v1/completions', { model: 'fake', prompt: ['a', 1] }, 'prompt'],
    ['/v1/completions', { model: 'fake', prompt: ['a', [1]] }, 'prompt'],
    ['/v1/completions', { model: 'fake', prompt: [2 ** 53] }, 'prompt'],
    ['/v1/completions', { model: 'fake', prompt: Array(17).fill('a') }, 'prompt'],
    ['/v1/completions', { model: 'fake', prompt: Array(6).fill('a'), n: 3 }, 'prompt'],
    ['/v1/completions', { model: 'fake', prompt: [1], echo: true }, 'echo'],
    ['/v1/completions', { model: 'fake', prompt: 'a', max_tokens: 0 }, 'max_tokens'],
    ['/v1/completions', { model: 'fake', prompt: 'a', max_tokens: 65 }, 'max_tokens'],
    ['/v1/completions', { model: 'fake', prompt: 'a', temperature: 2.1 }, 'temperature'],
    ['/v1/completions', { model: 'fake', prompt: 'a', temperature: '1' }, 'temperature'],
    ['/v1/completions', { model: 'fake', prompt: 'a', top_p: 1.1 }, 'top_p'],
    ['/v1/completions', { model: 'fake', prompt: 'a', top_k: 1.5 }, 'top_k'],
    ['/v1/completions', { model: 'fake', prompt: 'a', seed: 2 ** 53 }, 'seed'],
    ['/v1/completions', { model: 'fake', prompt: 'a', frequency_penalty: 3 }, 'frequency_penalty'],
    ['/v1/completions', { model: 'fake', prompt: 'a', presence_penalty: -3 }, 'presence_penalty'],
    ['/v1/completions', { model: 'fake', prompt: 'a', logprobs: 6 }, 'logprobs'],
    ['/v1/completions', { model: 'fake', prompt: 'a', best_of: 2 }, 'best_of'],
    ['/v1/completions', { model: 'fake', prompt: 'a', suffix: 'x' }, 'suffix'],
    ['/v1/completions', { model: 'fake', prompt: 'a', logit_bias: { 5: 1 } }, 'logit_bias'],
    ['/v1/completions', { model: 'fake', prompt: 'a', stop: '' }, 'stop'],
    ['/v1/completions', { model: 'fake', prompt: 'a', stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
    ['/v1/completions', { model: 'fake', prompt: 'a', stop: 'x'.repeat(257) }, 'stop'],
    ['/v1/completions', { model: 'fake', prompt: 'a', n: 17 }, 'n'],
    ['/v1/completions', { model: 'fake', prompt: 'a', n: 0 }, 'n'],
    ['/v1/completions', { model: 'fake', prompt: 'a', echo: true, logprobs: 1 }, 'echo'],
    ['/v1/completions', { model: 'fake', prompt: 'a', toString: 1 }, 'toString'],
    ['/v1/completions', { model: 'fake', prompt: 'a', stream: 'yes' }, 'stream'],
    ['/v1/completions', { model: 'fake', prompt: 'a', stream_options: {} }, 'stream_options'],
  ])('%s %j names %s', async (path, body, param) => {
    const service = await startTestService();
    const answer = await service.post(path, body);
    expect(answer.status).toBe(400);
    const { error } = (await answer.json()) as OpenAiError;
    expect(error).toMatchObject({ type: 'invalid_request_error', code: 'INVALID_INPUT', param });
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'refused', reason: 'INVALID_INPUT' }]);
  });

  test.each([
    ['no JSON', '{'],
    ['no inputs', { inputs: [] }],
    ['an unknown member', { inputs: [TENSOR], extra: 1 }],
    ['parameters', { inputs: [TENSOR], parameters: { sequence_id: 1 } }],
    ['binary data', { inputs: [{ ...TENSOR, parameters: { binary_data_size: 8 } }] }],
    ['an unknown datatype', { inputs: [{ ...TENSOR, datatype: 'BF16' }] }],
    ['a negative dimension', { inputs: [{ ...TENSOR, shape: [-1] }] }],
    ['text for numbers', { inputs: [{ ...TENSOR, data: ['1', '2'] }] }],
    ['no data', { inputs: [{ name: 'x', shape: [2], datatype: 'FP32' }] }],
    ['an unknown output', { inputs: [TENSOR], outputs: [{ name: 'y' }] }],
    ['an output twice', { inputs: [TENSOR], outputs: [{ name: 'x' }, { name: 'x' }] }],
  ])('inference with %s', async (_name, body) => {
    const service = await startTestService();
    const answer = await service.post('/v2/models/fake/infer', body);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toEqual({ error: expect.any(String) });
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'refused', reason: 'INVALID_INPUT' }]);
  });

  test('completions take parameters that change nothing', async () => {
    const service = await startTestService();
    const neutral = {
      temperature: 0,
      top_p: 1,
      n: 1,
      echo: false,
      user: 'u',
      seed: 7,
      stop: null,
      best_of: 1,
    };
    const answer = await service.post('/v1/completions', { model: 'fake', prompt: 'a b', ...neutral });
    expect(await answer.json()).toMatchObject({
      object: 'text_completion',
      choices: [{ text: 'ab', finish_reason: 'stop', index: 0 }],
      usage: { prompt_tokens: 2, completion_tokens: 2, total_tokens: 4 },
    });
  });
});
