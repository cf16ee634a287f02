import { describe, expect, test } from '@jest/globals';
import { fromBase64Url, toHex } from '../../../attestation/bytes/bytes.ts';
import { decodeDc } from '../../../attestation/cbor/deterministic.ts';
import { appraiseBundle, appraiseEvidence } from '../../../attestation/appraise.ts';
import { parseCollateral } from '../../../attestation/bundle/collateral.ts';
import { createApp } from '../../../src/http/app.ts';
import { OPENAPI } from '../../../src/http/openapi.ts';
import { contextOf } from '../../support/world.ts';
import { startTestService } from '../../support/service.ts';

const NONCE = 'cd'.repeat(32);

interface Attestation {
  readonly format: string;
  readonly hardware: string;
  readonly document: string;
  readonly digest: string;
  readonly nonce: {
    readonly value: string;
    readonly index: number;
    readonly count: number;
    readonly path: string[];
  };
  readonly collateral: string;
}

describe('evidence', () => {
  test('is made for the nonce and is accepted', async () => {
    const service = await startTestService();
    const answer = await fetch(`${service.url}/v1/attestation?nonce=${NONCE}`);
    const value = (await answer.json()) as Attestation;
    expect(value).toMatchObject({ format: 'vouchsafe/attestation/1', hardware: 'SIMULATED' });
    expect(value.nonce).toMatchObject({ value: NONCE, index: 0, count: 1 });
    const { index, path } = value.nonce;
    const proof = {
      nonce: Buffer.from(NONCE, 'hex'),
      index,
      path: path.map((hash) => Buffer.from(hash, 'hex')),
    };
    const collateral = parseCollateral(decodeDc(fromBase64Url(value.collateral)));
    const { verdict } = await appraiseEvidence(
      fromBase64Url(value.document),
      proof,
      contextOf({ collateral }),
    );
    expect(verdict.decision).toBe('accepted');
    const keyset = (await (await fetch(`${service.url}/v1/keyset`)).json()) as Record<string, string>;
    expect(keyset).toMatchObject({ format: 'vouchsafe/keyset/1', evidence: value.digest });
    expect(keyset['digest']).toBe(toHex(service.world.vouching.keysetDigest));
  });

  test.each(['', '?nonce=', '?nonce=ab', `?nonce=${'0'.repeat(64)}`, `?nonce=${'AB'.repeat(32)}`])(
    'without a usable nonce is refused: %s',
    async (query) => {
      const service = await startTestService();
      const answer = await fetch(`${service.url}/v1/attestation${query}`);
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({
        error: { code: 'NONCE_INVALID', advice: expect.any(String) },
      });
    },
  );

  test('that the hardware does not give is a 503', async () => {
    const service = await startTestService();
    service.world.collector.collectCpu = () => Promise.reject(new Error('the device is gone'));
    const answer = await fetch(`${service.url}/v1/attestation?nonce=${NONCE}`);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5']);
    expect(await answer.json()).toMatchObject({ error: { code: 'EVIDENCE_UNAVAILABLE' } });
  });
});

describe('receipts', () => {
  test('a fresh bundle is accepted with what the client kept', async () => {
    const service = await startTestService();
    const request = JSON.stringify({ model: 'fake', input: 'x' });
    const answer = await service.post('/v1/embeddings', request);
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    const k = Buffer.from(answer.headers.get('vouchsafe-commitment-key')!, 'base64url');
    const response = new Uint8Array(await answer.arrayBuffer());
    const bundle = await fetch(`${service.url}/v1/receipts/${id}/bundle`, {
      headers: { 'vouchsafe-fresh': '?1' },
    });
    expect(bundle.headers.get('content-type')).toBe('application/vouchsafe-bundle+cbor');
    const bytes = new Uint8Array(await bundle.arrayBuffer());
    const opening = { k, request: Buffer.from(request), response };
    const { verdict } = await appraiseBundle(bytes, { opening }, contextOf());
    expect(verdict.decision).toBe('accepted');
  });

  test.each(['0'.repeat(32), 'A'.repeat(32), 'x', `${'0'.repeat(32)}/bundle`])('none is %s', async (id) => {
    const service = await startTestService();
    for (const headers of [{}, { 'vouchsafe-fresh': '?1' }]) {
      const answer = await fetch(`${service.url}/v1/receipts/${id}`, { headers });
      expect(answer.status).toBe(404);
      expect(await answer.json()).toMatchObject({ error: { code: 'RECEIPT_NOT_FOUND' } });
    }
  });
});

describe('metadata', () => {
  test('of models, as both APIs have it', async () => {
    const service = await startTestService();
    const get = async (path: string): Promise<unknown> => (await fetch(service.url + path)).json();
    const model = { id: 'fake', object: 'model', owned_by: 'vouchsafe', manifest_digest: '05'.repeat(32) };
    expect(await get('/v1/models')).toMatchObject({ object: 'list', data: [model] });
    expect(await get('/v1/models/fake')).toMatchObject(model);
    expect(await get('/v2')).toMatchObject({
      name: 'vouchsafe',
      extensions: [
        'binary_tensor_data',
        'generate',
        'model_repository',
        'model_repository(unload_dependents)',
      ],
    });
    for (const path of ['/v2/models/fake', '/v2/models/fake/versions/1']) {
      expect(await get(path)).toMatchObject({
        name: 'fake',
        versions: ['1'],
        inputs: [{ name: 'x', datatype: 'FP32', shape: [-1] }],
      });
      expect(await get(`${path}/ready`)).toMatchObject({ ready: true });
    }
    expect(await get('/v2/models/none')).toEqual({ error: expect.stringContaining('MODEL_NOT_FOUND') });
    expect(await get('/v1/models/none')).toMatchObject({
      error: { code: 'MODEL_NOT_FOUND', param: 'the path' },
    });
  });

  test('headers tell nothing of the framework', async () => {
    const service = await startTestService();
    const { headers } = await fetch(`${service.url}/livez`);
    expect(headers.get('x-powered-by')).toBeNull();
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-request-id')).toMatch(/^[\w-]+$/);
  });

  test('metrics count requests, receipts and evidence', async () => {
    const service = await startTestService();
    await service.post('/v1/embeddings', { model: 'fake', input: 'x' });
    const text = await (await fetch(`${service.url}/metrics`)).text();
    expect(text).toContain('vouchsafe_requests_total{route="embeddings",status="200"} 1');
    for (const line of [
      'receipts_issued_total 1',
      'receipts_uncovered 1',
      'evidence_sequence 0',
      'log_entries 2',
    ]) {
      expect(text).toContain(`vouchsafe_${line}\n`);
    }
  });

  test('what nothing answers says so in the dialect of its API', async () => {
    const service = await startTestService();
    const get = async (path: string): Promise<unknown> => (await fetch(service.url + path)).json();
    expect(await get('/nothing')).toMatchObject({ error: { code: 'NOT_FOUND', advice: expect.any(String) } });
    expect(await get('/v2/nothing')).toEqual({ error: expect.stringContaining('NOT_FOUND') });
    expect(await get('/v1/chat/completions')).toMatchObject({
      error: { type: 'invalid_request_error', param: null },
    });
    const wrong = await fetch(`${service.url}/v1/embeddings`);
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST']);
  });
});

describe('the OpenAPI document', () => {
  test('has exactly the routes of the server', async () => {
    const { service, url } = await startTestService();
    expect(await (await fetch(`${url}/openapi.json`)).json()).toEqual(JSON.parse(JSON.stringify(OPENAPI)));
    const layers = (createApp(service).router as unknown as { stack: Layer[] }).stack;
    const routes = layers
      .flatMap(({ route }) => (route ? [{ path: route.path, methods: Object.keys(route.methods) }] : []))
      // A route of all methods refuses those that the path does not have.
      .filter(({ methods }) => methods.join() !== '_all')
      .map(({ path, methods }) => `${methods.join()} ${path}`)
      .map((name) => name.replaceAll(/[:*](\w+)/g, '{$1}'));
    const documented = Object.entries(OPENAPI.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    expect(documented.sort()).toEqual(routes.sort());
  });
});

interface Layer {
  readonly route?: { readonly path: string; readonly methods: Record<string, boolean> };
}
