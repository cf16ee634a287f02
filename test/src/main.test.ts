import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import { appraiseBundle } from '../../attestation/appraise.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { checkResponse } from '../../attestation/receipt/opening.ts';
import { parseReceipt } from '../../attestation/receipt/receipt.ts';
import type { Config } from '../../src/config/schema.ts';
import { createServiceLog } from '../../src/http/logging.ts';
import { type RunningService, startService } from '../../src/main.ts';
import { childEntry } from '../support/engine.ts';
import { apiKey, makeFolder, testConfig } from '../support/service.ts';
import { contextOf } from '../support/world.ts';

const QUIET = createServiceLog({ level: 'error', format: 'json' });
const { key, entry } = apiKey('client');
const notices: string[] = [];

function configIn(folder: string, hardware: Partial<Config['hardware']> = {}): Config {
  return testConfig({
    data: { directory: folder },
    engine: { provider: 'cpu', threads: 1 },
    keys: { apiKeys: [entry] },
    hardware,
  });
}

function start(config: Config, signs: readonly string[] = []): Promise<RunningService> {
  return startService(config, {
    log: QUIET,
    notice: (line) => notices.push(line),
    childEntry: childEntry(),
    signs,
  });
}

describe('the service, for the unmodified OpenAI client', () => {
  let service: RunningService;
  let client: OpenAI;
  beforeAll(async () => {
    service = await start(configIn(await makeFolder()));
    client = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: key, maxRetries: 0 });
  });
  afterAll(() => service.stop());

  test('says that its hardware is simulated', () => {
    expect(notices.join()).toContain('SIMULATED hardware');
  });

  test('lists models', async () => {
    const ids: string[] = [];
    for await (const { id } of client.models.list()) ids.push(id);
    expect(ids).toEqual(['glove-sif-100d', 'tinygpt-1m']);
    expect((await client.models.retrieve('tinygpt-1m')).object).toBe('model');
  });

  test('embeds; float and base64 are the same numbers', async () => {
    const request = { model: 'glove-sif-100d', input: ['a red car', 'the crimson automobile'] };
    const plain = await client.embeddings.create({ ...request, encoding_format: 'float' });
    // The client asks for base64 unless told otherwise, and decodes it.
    const packed = await client.embeddings.create(request);
    expect(plain.data.map(({ embedding }) => embedding.length)).toEqual([100, 100]);
    for (const [i, { embedding }] of packed.data.entries()) {
      expect(Array.from(embedding, Math.fround)).toEqual(plain.data[i]!.embedding.map(Math.fround));
    }
    expect(plain.usage.prompt_tokens).toBeGreaterThan(0);
  });

  test('completes, and the receipt is fetched later by id with the key of the client', async () => {
    const { data, response } = await client.completions
      .create({ model: 'tinygpt-1m', prompt: 'Call me', max_tokens: 8, temperature: 0 })
      .withResponse();
    expect(data.usage).toMatchObject({ completion_tokens: 8 });
    const id = response.headers.get('vouchsafe-receipt-id')!;
    expect(data.id).toBe(`cmpl-${id}`);
    const url = `${service.url}/v1/receipts/${id}/bundle`;
    const headers = { authorization: `Bearer ${key}`, 'vouchsafe-fresh': '?1' };
    const bundle = new Uint8Array(await (await fetch(url, { headers })).arrayBuffer());
    const k = Buffer.from(response.headers.get('vouchsafe-commitment-key')!, 'base64url');
    const result = await appraiseBundle(bundle, { opening: { k } }, contextOf({ now: Date.now() }));
    expect(result.receipt?.claims).toMatchObject({ model: 'tinygpt-1m', outcome: 'complete' });
    expect((await fetch(url)).status).toBe(401);
  });

  test('streams completions, undisturbed by comments and receipts', async () => {
    const request = { model: 'tinygpt-1m', prompt: 'Call me', max_tokens: 8 };
    const whole = await client.completions.create(request);
    const { data: stream, response } = await client.completions
      .create({ ...request, stream: true, stream_options: { include_usage: true } })
      .withResponse();
    const chunks: OpenAI.Completion[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    const text = chunks.flatMap(({ choices }) => choices.map((choice) => choice.text)).join('');
    expect(text).toBe(whole.choices[0]!.text);
    expect(chunks.at(-1)?.usage).toMatchObject({ completion_tokens: 8 });
    const id = response.headers.get('vouchsafe-receipt-id')!;
    const stored = await fetch(`${service.url}/v1/receipts/${id}`, {
      headers: { authorization: `Bearer ${key}` },
    });
    const { claims } = parseReceipt(new Uint8Array(await stored.arrayBuffer()));
    expect(claims.response).toMatchObject({ kind: 'stream', count: chunks.length + 1 });
    const k = Buffer.from(response.headers.get('vouchsafe-commitment-key')!, 'base64url');
    const sent = [...chunks.map((chunk) => JSON.stringify(chunk)), '[DONE]'].map((chunk) =>
      Buffer.from(chunk),
    );
    checkResponse(claims, { k, chunks: sent }, nodeCrypto);
  });

  test('gives errors of its classes', async () => {
    const wrong = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: 'wrong', maxRetries: 0 });
    await expect(wrong.models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
    const unknown = client.embeddings.create({ model: 'none', input: 'x' });
    await expect(unknown).rejects.toMatchObject({ status: 404, code: 'MODEL_NOT_FOUND', param: 'model' });
    const invalid = client.embeddings.create({ model: 'glove-sif-100d', input: 'x', dimensions: 3 });
    await expect(invalid).rejects.toMatchObject({ status: 400, param: 'dimensions' });
    const other = client.embeddings.create({ model: 'tinygpt-1m', input: 'x' });
    await expect(other).rejects.toMatchObject({ status: 400, code: 'UNSUPPORTED_TASK' });
  });

  test('infers with tensors', async () => {
    const answer = await fetch(`${service.url}/v2/models/glove-sif-100d/infer`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({
        inputs: [
          { name: 'input_ids', shape: [1, 2], datatype: 'INT64', data: [[5, 6]] },
          { name: 'attention_mask', shape: [1, 2], datatype: 'INT64', data: [1, 1] },
        ],
      }),
    });
    const { outputs } = (await answer.json()) as {
      outputs: { datatype: string; shape: number[]; data: number[] }[];
    };
    expect(outputs[0]).toMatchObject({ datatype: 'FP32', shape: [1, 100] });
    expect(outputs[0]!.data).toHaveLength(100);
  });
});

describe('starting and stopping', () => {
  test('simulation beside real hardware needs the explicit setting', async () => {
    const folder = await makeFolder();
    const refused = start(configIn(folder), ['/dev/sev-guest']);
    await expect(refused).rejects.toMatchObject({ code: 'COLLECTOR_MISSING' });
    expect(await readdir(folder)).toEqual([]);
    const service = await start(configIn(folder, { collector: 'simulated' }), ['/dev/sev-guest']);
    await service.stop();
  });

  test('a stop makes final evidence, and the next instance names this one', async () => {
    const folder = await makeFolder();
    for (let i = 0; i < 2; i++) {
      const service = await start(configIn(folder));
      await Promise.all([service.stop(), service.stop()]);
      await expect(fetch(`${service.url}/livez`)).rejects.toThrow();
    }
    const instances = await readdir(join(folder, 'instances'));
    expect(instances).toHaveLength(2);
    for (const instance of instances) {
      const evidence = join(folder, 'instances', instance, 'evidence');
      const documents = (await readdir(evidence)).filter((name) => name.endsWith('.cbor'));
      const last = documents.sort().at(-1)!;
      expect(parseDocument(await readFile(join(evidence, last))).statement.final).toBe(true);
    }
  });

  test('a store that cannot be used starts nothing', async () => {
    const folder = await makeFolder();
    const config = configIn(folder);
    const refused = start({ ...config, models: { directory: join(folder, 'none'), signing: [] } });
    await expect(refused).rejects.toMatchObject({ code: 'STORE_UNREADABLE' });
  });
});
