import { describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { checkResponse } from '../../../attestation/receipt/opening.ts';
import { streamChunks } from '../../../src/client/events.ts';
import { VouchingError } from '../../../src/receipts/errors.ts';
import { issuedClaims, startTestService, until } from '../../support/service.ts';

const PATH = '/v2/models/fake/generate';
const STREAM_PATH = `${PATH}_stream`;
const ASK = { text_input: 'one two three' };

describe('generate', () => {
  test.each([PATH, '/v2/models/fake/versions/1/generate'])('answers %s with one text', async (path) => {
    const service = await startTestService();
    const answer = await service.post(path, { ...ASK, id: 'a1' });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({
      model_name: 'fake',
      model_version: '1',
      id: 'a1',
      text_output: 'onetwothree',
    });
    expect(issuedClaims(service)).toMatchObject([{ path, outcome: 'complete' }]);
    expect(Object.fromEntries(issuedClaims(service)[0]!.usage)).toEqual({
      prompt_tokens: 3,
      completion_tokens: 3,
      total_tokens: 6,
    });
  });

  test('has no id where none was given', async () => {
    const service = await startTestService();
    const answer = await service.post(PATH, { ...ASK, id: null, parameters: null });
    expect(await answer.json()).toEqual({
      model_name: 'fake',
      model_version: '1',
      text_output: 'onetwothree',
    });
  });

  test('takes parameters in their object and beside it', async () => {
    const service = await startTestService();
    for (const body of [
      { parameters: { max_tokens: 2 } },
      { max_tokens: 2 },
      { max_tokens: 2, parameters: {} },
    ]) {
      const answer = await service.post(PATH, { ...ASK, ...body });
      expect(await answer.json()).toMatchObject({ text_output: 'onetwo' });
    }
  });

  test('has the parameters in the receipt as completions have them', async () => {
    const service = await startTestService();
    const parameters = {
      max_tokens: 7,
      temperature: 0.5,
      seed: 42,
      top_p: 0.9,
      top_k: 3,
      frequency_penalty: 0.5,
      presence_penalty: -1,
      stop: 'end',
    };
    await service.post(PATH, { ...ASK, parameters: { ...parameters, stream: false } });
    await service.post('/v1/completions', { model: 'fake', prompt: ASK.text_input, ...parameters });
    const [generate, completion] = issuedClaims(service).map(({ parameters: stated }) => new Map(stated));
    for (const stated of [generate, completion]) {
      expect(stated!.get('stop')).toHaveLength(32);
      stated!.delete('stop');
    }
    expect(generate).toEqual(completion);
    expect(generate!.get('seed')).toBe('42');
  });

  test('that the engine refuses is a plain error', async () => {
    const service = await startTestService();
    service.engine.failure = 'UNSUPPORTED_TASK';
    for (const path of [PATH, STREAM_PATH]) {
      const answer = await service.post(path, { text_input: 'one' });
      expect([answer.status, answer.headers.get('content-type')]).toEqual([400, 'application/json']);
      expect(await answer.json()).toEqual({ error: expect.stringContaining('UNSUPPORTED_TASK') });
    }
    expect(issuedClaims(service).map(({ outcome }) => outcome)).toEqual(['refused', 'refused']);
  });
});

describe('a generation is refused, with the parameter named, for', () => {
  test.each<[object, string]>([
    [{ text_input: undefined }, 'text_input'],
    [{ text_input: ['one'] }, 'text_input'],
    [{ id: 1 }, 'id'],
    [{ id: 'x'.repeat(257) }, 'id'],
    [{ parameters: [] }, 'parameters'],
    [{ parameters: 'x' }, 'parameters'],
    [{ parameters: { surprise: 1 } }, 'surprise'],
    [{ surprise: 1 }, 'surprise'],
    [{ parameters: { n: 2 } }, 'n is not known'],
    [{ parameters: { logprobs: 2 } }, 'logprobs'],
    [{ parameters: { bad_words: 'x' } }, 'bad_words'],
    [{ parameters: { model: 'fake' } }, 'model is not known'],
    [{ parameters: { stream_options: {} } }, 'stream_options'],
    [{ max_tokens: 2, parameters: { max_tokens: 2 } }, 'max_tokens'],
    [{ parameters: { max_tokens: 0 } }, 'max_tokens'],
    [{ parameters: { max_tokens: 65 } }, 'max_tokens'],
    [{ parameters: { temperature: 3 } }, 'temperature'],
    [{ parameters: { top_p: '1' } }, 'top_p'],
    [{ parameters: { top_k: -1 } }, 'top_k'],
    [{ parameters: { seed: 0.5 } }, 'seed'],
    [{ parameters: { stop: '' } }, 'stop'],
    [{ parameters: { frequency_penalty: 3 } }, 'frequency_penalty'],
    [{ parameters: { presence_penalty: 3 } }, 'presence_penalty'],
    [{ parameters: { stream: 1 } }, 'stream'],
  ])('%j', async (changes, name) => {
    const service = await startTestService();
    for (const path of [PATH, STREAM_PATH]) {
      const answer = await service.post(path, { ...ASK, ...changes });
      expect(answer.status).toBe(400);
      expect(await answer.json()).toEqual({
        error: expect.stringMatching(new RegExp(`^(?:INVALID_INPUT|PARAMETER_UNSUPPORTED): .*\\b${name}\\b`)),
      });
    }
    expect(issuedClaims(service)).toMatchObject(
      Array(2).fill({ outcome: 'refused', reason: 'INVALID_INPUT' }),
    );
  });

  test('a stream where there is none, and none where there is', async () => {
    const service = await startTestService();
    for (const [path, stream] of [
      [PATH, true],
      [STREAM_PATH, false],
    ] as const) {
      const answer = await service.post(path, { ...ASK, parameters: { stream } });
      expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining('stream is')]);
    }
    expect((await service.post(STREAM_PATH, { ...ASK, stream: true })).status).toBe(200);
    expect((await service.post(PATH, { ...ASK, stream: false })).status).toBe(200);
  });

  test('models, versions and bodies that are none', async () => {
    const service = await startTestService();
    const status = async (path: string, body: unknown): Promise<number> =>
      (await service.post(path, body)).status;
    expect(await status('/v2/models/none/generate', ASK)).toBe(404);
    expect(await status('/v2/models/fake/versions/2/generate_stream', ASK)).toBe(404);
    expect(await status(PATH, '{"text_input":"a","text_input":"b"}')).toBe(400);
  });
});

describe('generate_stream', () => {
  test('ends with an output without text, and its receipt covers every event', async () => {
    const service = await startTestService();
    const answer = await service.post(STREAM_PATH, { ...ASK, id: 'a1' });
    expect(answer.headers.get('content-type')).toBe('text/event-stream');
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const text = Buffer.from(bytes).toString();
    expect(text).not.toContain('[DONE]');
    const chunks = streamChunks(bytes);
    const outputs = chunks.map((chunk) => JSON.parse(Buffer.from(chunk).toString()) as object);
    const frame = { model_name: 'fake', model_version: '1', id: 'a1' };
    expect(outputs).toEqual(['one', 'two', 'three', ''].map((text_output) => ({ ...frame, text_output })));
    const k = Buffer.from(answer.headers.get('vouchsafe-commitment-key')!, 'base64url');
    const [claims] = issuedClaims(service);
    checkResponse(claims!, { k, chunks }, nodeCrypto);
    expect(claims!.parameters.get('stream')).toBe('true');
    expect(text.trimEnd().split('\n\n').at(-1)).toMatch(/^event: vouchsafe\.receipt\ndata: \{/);
  });

  test('that fails has an error after the 200, which the receipt covers', async () => {
    const service = await startTestService();
    service.engine.failure = 'ENGINE_FAILED';
    const answer = await service.post(STREAM_PATH, ASK);
    const chunks = streamChunks(new Uint8Array(await answer.arrayBuffer()));
    expect(answer.status).toBe(200);
    const [first, last] = chunks.map((chunk) => JSON.parse(Buffer.from(chunk).toString()) as object);
    expect(first).toMatchObject({ text_output: 'one' });
    expect(last).toEqual({ error: expect.stringContaining('ENGINE_FAILED') });
    const [claims] = issuedClaims(service);
    expect(claims).toMatchObject({ outcome: 'error', reason: 'ENGINE_FAILED' });
    const k = Buffer.from(answer.headers.get('vouchsafe-commitment-key')!, 'base64url');
    checkResponse(claims!, { k, chunks }, nodeCrypto);
  });

  test('without a receipt never comes to its end', async () => {
    const service = await startTestService();
    service.engine.held = true;
    const answer = await service.post(STREAM_PATH, ASK);
    service.world.vouching.issue = () =>
      Promise.reject(new VouchingError('ISSUING_STOPPED', 'the disk is gone'));
    service.engine.release();
    const text = await answer.text();
    expect(text).not.toContain('"text_output":""');
    expect(text).toContain('NOT_VOUCHING');
  });

  test('ends when its client goes away', async () => {
    const service = await startTestService();
    service.engine.held = true;
    const controller = new AbortController();
    const answer = await fetch(service.url + STREAM_PATH, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(ASK),
      signal: controller.signal,
    });
    await answer.body!.getReader().read();
    controller.abort();
    await until(() => issuedClaims(service).length === 1);
    expect(issuedClaims(service)[0]).toMatchObject({ outcome: 'aborted', reason: 'CANCELLED' });
  });
});
