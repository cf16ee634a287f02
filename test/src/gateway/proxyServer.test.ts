import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { archiveOf } from '../../../src/cli/proxyFiles.ts';
import { exchangeOf } from '../../../src/cli/exchangeFiles.ts';
import { savedExchange } from '../../../src/cli/saved.ts';
import type { ReceiptRecord } from '../../../src/client/receiptStore.ts';
import { startOpenRedaction } from '../../../src/gateway/proxy/openRedaction.ts';
import { apiKey, makeFolder, startTestService, until, type TestService } from '../../support/service.ts';
import { contextOf } from '../../support/world.ts';
import { startBox, startTestProxy, stopProxies, thrownBy, withChat, type MiddleBox } from './proxied.ts';

const CHAT = { model: 'chat', messages: [{ role: 'user' as const, content: 'one two three' }] };

let service: TestService;
beforeEach(async () => {
  service = withChat(await startTestService());
});
afterEach(stopProxies);

/** Status and code of a raw request. */
function ask(
  url: string,
  { method = 'POST', path = '/v1/embeddings', headers = {}, body = '' } = {},
): Promise<{ status: number; code: unknown }> {
  return new Promise((resolve, reject) => {
    const sent = request(url + path, { method, headers: { 'content-type': 'application/json', ...headers } });
    sent.once('error', reject).once('response', (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.once('end', () => {
        const { error } = JSON.parse(Buffer.concat(chunks).toString()) as { error?: { code?: unknown } };
        resolve({ status: answer.statusCode!, code: error?.code ?? error });
      });
    });
    sent.end(body);
  });
}

describe('requests', () => {
  test('that are not for it are refused by name', async () => {
    const { url } = await startTestProxy([service.url], { limits: { bodyBytes: 1000 } });
    const codeOf = async (given: Parameters<typeof ask>[1]) => Object.values(await ask(url, given));
    expect(await codeOf({ path: '/v1/files' })).toEqual([404, 'NOT_FOUND']);
    expect(await codeOf({ method: 'GET' })).toEqual([405, 'METHOD_NOT_ALLOWED']);
    expect(await codeOf({ path: '/status' })).toEqual([405, 'METHOD_NOT_ALLOWED']);
    expect(await codeOf({ headers: { host: 'evil.example' } })).toEqual([421, 'HOST_REFUSED']);
    expect(await codeOf({ headers: { origin: 'https://evil.example' } })).toEqual([403, 'ORIGIN_REFUSED']);
    expect(await codeOf({ headers: { 'content-type': 'text/plain' } })).toEqual([
      415,
      'CONTENT_TYPE_UNSUPPORTED',
    ]);
    expect(await codeOf({ headers: { 'content-encoding': 'gzip' } })).toEqual([
      415,
      'CONTENT_ENCODING_UNSUPPORTED',
    ]);
    expect(await codeOf({ headers: { authorization: 'Basic eA==' } })).toEqual([401, 'API_KEY_INVALID']);
    expect(await codeOf({ body: 'x'.repeat(2000) })).toEqual([413, 'BODY_TOO_LARGE']);
    const chunked = { 'transfer-encoding': 'chunked' };
    expect(await codeOf({ body: 'x'.repeat(2000), headers: chunked })).toEqual([413, 'BODY_TOO_LARGE']);
    const { code } = await ask(url, { path: '/v2/models/none/generate', body: '{}' });
    expect(code).toContain('MODEL_NOT_FOUND');
    expect(service.engine.calls).toBe(0);
  });

  test('have a place each, and end when the proxy stops', async () => {
    const proxy = await startTestProxy([service.url], { limits: { concurrency: 1 } });
    service.engine.held = true;
    const first = proxy.client.chat.completions.create(CHAT);
    await until(() => service.engine.calls === 1);
    expect(await thrownBy(proxy.client.chat.completions.create(CHAT))).toMatchObject({ code: 'OVERLOADED' });
    const stopping = proxy.stop(10_000);
    service.engine.release();
    expect((await first).choices[0]!.message.content).toContain('one');
    await stopping;
  });

  test('with raw tensors come back with raw tensors', async () => {
    const { url } = await startTestProxy([service.url]);
    const head = {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [2], parameters: { binary_data_size: 8 } }],
      outputs: [{ name: 'x', parameters: { binary_data: true } }],
    };
    const json = Buffer.from(JSON.stringify(head));
    const tensor = Buffer.from(Float32Array.of(1, 2).buffer);
    const answer = await fetch(`${url}/v2/models/fake/infer`, {
      method: 'POST',
      headers: {
        'content-type': 'application/octet-stream',
        'inference-header-content-length': String(json.length),
      },
      body: Buffer.concat([json, tensor]),
    });
    expect(answer.status).toBe(200);
    const length = Number(answer.headers.get('inference-header-content-length'));
    expect(Buffer.from(await answer.arrayBuffer()).subarray(length)).toEqual(tensor);
  });

  test('of the Open Inference Protocol stream live', async () => {
    const { url } = await startTestProxy([service.url], { stream: 'live' });
    const answer = await fetch(`${url}/v2/models/fake/generate_stream`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ text_input: 'one two' }),
    });
    const text = await answer.text();
    expect(text.match(/^data: \{"/gm)!.length).toBeGreaterThan(2);
    expect(text).toMatch(
      /: vouchsafe-verdict accepted [0-9a-f]{32}\n\ndata: .*\n\nevent: vouchsafe.verdict\n/,
    );
  });
});

describe('API keys', () => {
  const [alice, bob] = [apiKey('alice'), apiKey('bob')];

  test('are each caller’s own, or one for all', async () => {
    service = withChat(await startTestService({ keys: { apiKeys: [alice.entry, bob.entry] } }));
    const own = await startTestProxy([service.url]);
    expect(await thrownBy(own.client.chat.completions.create(CHAT))).toMatchObject({ status: 401 });
    own.client.apiKey = alice.key;
    expect((await own.client.chat.completions.create(CHAT)).choices).toHaveLength(1);
    const shared = await startTestProxy([service.url], { apiKey: bob.key });
    expect((await shared.client.chat.completions.create(CHAT)).choices).toHaveLength(1);
  });
});

test('an archive verifies offline, as verify reads it', async () => {
  const folder = await makeFolder();
  const archive = (await archiveOf(folder))!;
  const proxy = await startTestProxy([service.url], { archive });
  const { response } = await proxy.client.chat.completions.create(CHAT).withResponse();
  const saved = join(folder, response.headers.get('vouchsafe-receipt-id')!);
  const [bundle, files] = await savedExchange(saved, {});
  const exchange = await exchangeOf(files);
  const { verdict } = await appraiseBundle(await readFile(bundle), exchange, contextOf());
  expect(verdict.decision).toBe('accepted');
  expect(exchange.opening?.k).toHaveLength(32);
  const altered = { ...exchange.opening!, response: Buffer.from('{}') };
  const other = await appraiseBundle(await readFile(bundle), { ...exchange, opening: altered }, contextOf());
  expect(other.verdict.decision).toBe('refused');
});

describe('redaction', () => {
  let box: MiddleBox;
  afterEach(() => box.stop());

  test.each(['verified', 'live'] as const)(
    'keeps data from the service and gives it back, %s',
    async (stream) => {
      box = await startBox(service.url);
      const sent: string[] = [];
      const archive = {
        put: ({ request: kept }: ReceiptRecord) =>
          Promise.resolve(void sent.push(Buffer.from(kept).toString())),
      };
      const redactor = await startOpenRedaction();
      const proxy = await startTestProxy([box.url], { redactor, stream, archive });
      const messages = [{ role: 'user' as const, content: 'write anna@acme.co and +49 151 23456789' }];
      const { data, response } = await proxy.client.chat.completions
        .create({ model: 'chat', messages })
        .withResponse();
      expect(response.headers.get('vouchsafe-redacted')).toBe('EMAIL=1, PHONE=1');
      expect(data.choices[0]!.message.content).toContain('anna@acme.co');
      const streamed = await proxy.client.chat.completions.create({ model: 'chat', messages, stream: true });
      let text = '';
      for await (const { choices } of streamed) text += choices[0]?.delta.content ?? '';
      expect(text).toBe(data.choices[0]!.message.content);
      expect(sent).toHaveLength(2);
      expect(sent.join()).toContain('[EMAIL_1]');
      expect(sent.join()).not.toContain('acme');
      const tensors = { path: '/v2/models/fake/infer', body: '{}' };
      expect((await ask(proxy.url, tensors)).code).toContain('REDACTION_UNSUPPORTED');
    },
  );
});
