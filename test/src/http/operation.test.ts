import { describe, expect, test } from '@jest/globals';
import { apiKey, issuedClaims, startTestService, until } from '../../support/service.ts';

const EMBED = { model: 'fake', input: 'hello there' };
const NONCE = 'ab'.repeat(32);

interface OpenAiError {
  readonly error: { readonly type: string; readonly param: string | null; readonly code: string };
}

describe('limits', () => {
  test('more requests than there are places get a 429 and the service goes on', async () => {
    const service = await startTestService({ limits: { concurrency: 1, queue: 1 } });
    service.engine.held = true;
    const first = service.post('/v1/embeddings', EMBED);
    await until(() => service.engine.calls === 1);
    const second = service.post('/v1/embeddings', EMBED);
    await until(() => service.service.admission.inside === 2);
    const third = await service.post('/v1/embeddings', EMBED);
    expect([third.status, third.headers.get('retry-after')]).toEqual([429, '1']);
    expect(((await third.json()) as OpenAiError).error).toMatchObject({
      type: 'rate_limit_error',
      code: 'OVERLOADED',
    });
    service.engine.release();
    expect([(await first).status, (await second).status]).toEqual([200, 200]);
    expect(service.service.admission.inside).toBe(0);
  });
});

describe('keys', () => {
  const alice = apiKey('alice');
  const bob = apiKey('bob');
  const keys = { apiKeys: [alice.entry, bob.entry] };
  const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

  test('are needed for models, inference and receipts, and for nothing else', async () => {
    const service = await startTestService({ keys });
    const statusOf = async (path: string, headers = {}): Promise<number> =>
      (await fetch(service.url + path, { headers })).status;
    for (const path of ['/v1/models', '/v1/models/fake', '/v2', '/v2/models/fake', '/v2/models/fake/ready']) {
      expect(await statusOf(path)).toBe(401);
      expect(await statusOf(path, bearer('wrong'))).toBe(401);
      expect(await statusOf(path, bearer(bob.key))).toBe(200);
    }
    const open = ['/livez', '/readyz', '/v2/health/live', '/v2/health/ready', '/openapi.json', '/v1/keyset'];
    for (const path of [...open, `/v1/attestation?nonce=${NONCE}`]) expect(await statusOf(path)).toBe(200);
    const refused = await service.post('/v1/embeddings', EMBED);
    expect(((await refused.json()) as OpenAiError).error).toMatchObject({
      type: 'authentication_error',
      code: 'API_KEY_MISSING',
    });
    expect(issuedClaims(service)).toEqual([]);
  });

  test('a receipt is for the key that made the request', async () => {
    const service = await startTestService({ keys });
    const answer = await service.post('/v1/embeddings', EMBED, bearer(alice.key));
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    for (const path of [`/v1/receipts/${id}`, `/v1/receipts/${id}/bundle`]) {
      expect((await fetch(service.url + path, { headers: bearer(alice.key) })).status).toBe(200);
      const foreign = await fetch(service.url + path, { headers: bearer(bob.key) });
      expect(foreign.status).toBe(404);
      expect(await foreign.text()).toContain('RECEIPT_NOT_FOUND');
    }
    expect(issuedClaims(service)[0]?.tenant).toHaveLength(32);
  });

  test('the admin key alone reads the metrics, once there is one', async () => {
    const { key, entry } = apiKey('admin');
    const service = await startTestService({ keys: { adminKeySha256: entry.sha256 } });
    expect((await fetch(`${service.url}/metrics`)).status).toBe(401);
    expect((await fetch(`${service.url}/metrics`, { headers: bearer(key) })).status).toBe(200);
    expect((await service.post('/v1/embeddings', EMBED)).status).toBe(200);
  });
});

describe('when nothing can be vouched for', () => {
  test('nothing is answered and readiness says why', async () => {
    const service = await startTestService({}, { logFailure: () => 'LOG_ENDED' });
    await service.world.vouching.stop();
    const answer = await service.post('/v1/embeddings', EMBED);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5']);
    expect(((await answer.json()) as OpenAiError).error.code).toBe('NOT_VOUCHING');
    expect(service.engine.calls).toBe(0);
    const ready = await fetch(`${service.url}/readyz`);
    expect(ready.status).toBe(503);
    const { obstacles } = (await ready.json()) as { obstacles: { component: string }[] };
    expect(obstacles.map(({ component }) => component)).toEqual(['evidence', 'log']);
    expect((await fetch(`${service.url}/livez`)).status).toBe(200);
  });

  test('an engine that restarts is named', async () => {
    const service = await startTestService();
    service.engine.state = 'restarting';
    const ready = await fetch(`${service.url}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([
      503,
      expect.stringContaining('"component":"engine"'),
    ]);
    expect((await fetch(`${service.url}/v2/health/ready`)).status).toBe(503);
    expect((await fetch(`${service.url}/v2/models/fake/ready`)).status).toBe(503);
  });
});

describe('draining', () => {
  test('finishes what is in flight and takes nothing new', async () => {
    const service = await startTestService();
    service.engine.held = true;
    const inFlight = service.post('/v1/embeddings', EMBED);
    await until(() => service.engine.calls === 1);
    const drained = service.drain(5000);
    await expect(fetch(`${service.url}/livez`)).rejects.toThrow();
    service.engine.release();
    expect((await inFlight).status).toBe(200);
    await drained;
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'complete' }]);
  });

  test('ends what takes too long, with a receipt', async () => {
    const service = await startTestService();
    service.engine.held = true;
    const inFlight = service.post('/v1/embeddings', EMBED);
    await until(() => service.engine.calls === 1);
    await service.drain(50);
    expect((await inFlight).status).toBe(503);
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'error', reason: 'ENGINE_UNAVAILABLE' }]);
  });
});
