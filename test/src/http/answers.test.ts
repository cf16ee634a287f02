import { describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { checkRequest, checkResponse } from '../../../attestation/receipt/opening.ts';
import { parseReceipt } from '../../../attestation/receipt/receipt.ts';
import type { EngineErrorCode } from '../../../src/engine/engine.ts';
import { issuedClaims, startTestService, until } from '../../support/service.ts';

const EMBED = { model: 'fake', input: 'hello there' };
const TENSOR = { name: 'x', shape: [2], datatype: 'FP32', data: [1, 2] };
const NONCE = 'ab'.repeat(32);

describe('an answer', () => {
  test('is vouched for: its receipt commits to the bytes of both directions', async () => {
    const service = await startTestService();
    const request = JSON.stringify(EMBED, null, 1);
    const answer = await service.post('/v1/embeddings', request, { 'vouchsafe-nonce': NONCE });
    const body = Buffer.from(await answer.arrayBuffer());
    expect(answer.status).toBe(200);
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    const k = Buffer.from(answer.headers.get('vouchsafe-commitment-key')!, 'base64url');
    const stored = await fetch(`${service.url}/v1/receipts/${id}`);
    expect(stored.headers.get('content-type')).toBe('application/cose; cose-type="cose-sign1"');
    const { claims } = parseReceipt(new Uint8Array(await stored.arrayBuffer()));
    const opening = { k, request: Buffer.from(request), response: body };
    checkRequest(claims, opening, nodeCrypto);
    checkResponse(claims, opening, nodeCrypto);
    expect(claims).toMatchObject({
      channel: 'plain',
      method: 'POST',
      path: '/v1/embeddings',
      model: 'fake',
      outcome: 'complete',
      parameters: new Map([['encoding_format', 'float']]),
      usage: new Map([
        ['prompt_tokens', 2],
        ['total_tokens', 2],
      ]),
    });
    expect(Buffer.from(claims.nonce!).toString('hex')).toBe(NONCE);
    expect(Buffer.from(claims.evidenceDigest).toString('hex')).toBe(answer.headers.get('vouchsafe-evidence'));
  });

  test('of the Open Inference Protocol echoes the id and has the outputs that were asked for', async () => {
    const service = await startTestService();
    for (const path of ['/v2/models/fake/infer', '/v2/models/fake/versions/1/infer']) {
      const answer = await service.post(path, { id: 'a1', inputs: [TENSOR], outputs: [{ name: 'x' }] });
      expect(await answer.json()).toEqual({
        model_name: 'fake',
        model_version: '1',
        id: 'a1',
        outputs: [{ name: 'x', datatype: 'FP32', shape: [2], data: [1, 2] }],
      });
    }
    expect(issuedClaims(service).map(({ path }) => path)).toEqual([
      '/v2/models/fake/infer',
      '/v2/models/fake/versions/1/infer',
    ]);
  });

  test('with Vouchsafe-Fresh waits until hardware covers its receipt', async () => {
    const service = await startTestService();
    const answer = await service.post('/v1/embeddings', EMBED, { 'vouchsafe-fresh': '?1' });
    expect(answer.headers.get('vouchsafe-fresh')).toBe('?1');
    const [claims] = issuedClaims(service);
    expect(service.world.vouching.head.logSize).toBeGreaterThan(claims!.index);
  });

  test('has no receipt where receipts are off', async () => {
    const service = await startTestService({ receipts: { enabled: false } });
    const answer = await service.post('/v1/embeddings', EMBED);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('vouchsafe-receipt-id')).toBeNull();
    const stream = await service.post('/v1/completions', { model: 'fake', prompt: 'a b', stream: true });
    expect(await stream.text()).toMatch(/^data: .*data: \[DONE\]\n\n$/s);
    expect(issuedClaims(service)).toEqual([]);
  });

  test('leaves no content, key or nonce in the log of operations', async () => {
    const service = await startTestService();
    service.engine.failure = 'unforeseen';
    const answer = await service.post('/v1/embeddings', { model: 'fake', input: 'a secret prompt' });
    expect(answer.status).toBe(500);
    expect(await answer.text()).not.toContain('secret');
    const text = service.lines.join('');
    expect(text).toContain('embeddings');
    expect(text).not.toContain('secret');
    expect(text).not.toContain(answer.headers.get('vouchsafe-commitment-key'));
  });
});

describe('after admission every outcome has a receipt', () => {
  test.each<[EngineErrorCode | 'unforeseen', number, string, string]>([
    ['INVALID_INPUT', 400, 'refused', 'INVALID_INPUT'],
    ['UNSUPPORTED_TASK', 400, 'refused', 'UNSUPPORTED_TASK'],
    ['DEADLINE_EXCEEDED', 504, 'error', 'DEADLINE_EXCEEDED'],
    ['ENGINE_UNAVAILABLE', 503, 'error', 'ENGINE_UNAVAILABLE'],
    ['MODEL_REFUSED', 503, 'error', 'ENGINE_UNAVAILABLE'],
    ['ENGINE_FAILED', 500, 'error', 'ENGINE_FAILED'],
    ['unforeseen', 500, 'error', 'ENGINE_FAILED'],
  ])('%s', async (failure, status, outcome, reason) => {
    const service = await startTestService();
    service.engine.failure = failure;
    const answer = await service.post('/v1/embeddings', EMBED);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('vouchsafe-receipt-id')).toMatch(/^[0-9a-f]{32}$/);
    expect(answer.headers.has('retry-after')).toBe(status === 503);
    const [claims] = issuedClaims(service);
    expect(claims).toMatchObject({ outcome, reason });
    const k = Buffer.from(answer.headers.get('vouchsafe-commitment-key')!, 'base64url');
    checkResponse(claims!, { k, response: Buffer.from(await answer.arrayBuffer()) }, nodeCrypto);
  });

  test('an engine that is full admitted nobody', async () => {
    const service = await startTestService();
    service.engine.failure = 'QUEUE_FULL';
    const answer = await service.post('/v1/embeddings', EMBED);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, '1']);
    expect(issuedClaims(service)).toEqual([]);
  });

  test('a client that goes away cancels the work', async () => {
    const service = await startTestService();
    service.engine.held = true;
    const controller = new AbortController();
    const gone = fetch(`${service.url}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(EMBED),
      signal: controller.signal,
    }).catch(() => undefined);
    await until(() => service.engine.calls === 1);
    controller.abort();
    await gone;
    await until(() => issuedClaims(service).length === 1);
    expect(service.engine.aborted).toBe(1);
    expect(issuedClaims(service)[0]).toMatchObject({ outcome: 'aborted', reason: 'CANCELLED' });
  });

  test('work that takes too long ends', async () => {
    const service = await startTestService({ limits: { requestTimeoutMs: 150 } });
    service.engine.held = true;
    const answer = await service.post('/v1/embeddings', EMBED);
    expect(answer.status).toBe(504);
    expect(issuedClaims(service)[0]).toMatchObject({ outcome: 'error', reason: 'DEADLINE_EXCEEDED' });
  });
});
