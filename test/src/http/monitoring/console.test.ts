import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { NO_COLLATERAL } from '../../../../attestation/collateral.ts';
import type { AlarmCode } from '../../../../src/http/monitoring/alarms.ts';
import type { FeedPage } from '../../../../src/http/monitoring/feed.ts';
import type { ConsoleStatus } from '../../../../src/http/monitoring/status.ts';
import { apiKey, startTestService, type TestService } from '../../../support/service.ts';
import { faultyHardware } from '../../../support/faultyHardware.ts';
import { NOW } from '../../../support/world.ts';

const [tenant, auditor] = [apiKey('alice-of-acme'), apiKey('auditor-of-acme')];
const ADMIN = 'the-admin-key';
const KEYS = {
  apiKeys: [tenant.entry],
  auditorKeys: [auditor.entry],
  adminKeySha256: createHash('sha256').update(ADMIN).digest('hex'),
};
const PROMPT = 'the quick brown fox';
const PATHS = ['/v1/console/status', '/v1/console/series', '/v1/console/receipts'];

const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

async function read(service: TestService, path: string, key = ADMIN): Promise<[number, string]> {
  const answer = await fetch(service.url + path, { headers: bearer(key) });
  return [answer.status, await answer.text()];
}

async function value<Value>(service: TestService, path: string): Promise<Value> {
  const [status, text] = await read(service, path);
  expect(status).toBe(200);
  return JSON.parse(text) as Value;
}

function generate(service: TestService, changes: object = {}): Promise<Response> {
  const body = { model: 'fake', prompt: PROMPT, max_tokens: 3, ...changes };
  return service.post('/v1/completions', body, bearer(tenant.key));
}

const codes = ({ alarms }: ConsoleStatus): readonly AlarmCode[] => alarms.map(({ code }) => code);

describe('the API of the console', () => {
  test('is for the admin key alone, and is kept by no cache', async () => {
    const service = await startTestService({ keys: KEYS });
    for (const path of PATHS) {
      const nobody = await fetch(service.url + path);
      expect([nobody.status, nobody.headers.get('cache-control')]).toEqual([401, 'no-store']);
      expect((await read(service, path, 'unknown'))[0]).toBe(401);
      for (const key of [tenant.key, auditor.key]) {
        const [status, text] = await read(service, path, key);
        expect([status, text]).toEqual([403, expect.stringContaining('ROLE_FORBIDDEN')]);
      }
      expect((await read(service, path))[0]).toBe(200);
    }
    for (const query of ['?after=-1', '?after=x', '?limit=0', '?limit=101', '?before=1&before=2']) {
      expect((await read(service, `/v1/console/receipts${query}`))[0]).toBe(400);
    }
  });

  test('shows how the service stands, and nothing of tenants or content', async () => {
    const findings = [
      { what: 'nvml', state: 'unusable', detail: 'no driver', fix: 'Load the driver.' },
    ] as const;
    const service = await startTestService(
      { keys: KEYS, limits: { concurrency: 3, queue: 4 } },
      { findings },
    );
    await generate(service);
    await generate(service, { stream: true }).then((answer) => answer.text());
    await service.service.vouching.covered(2);
    service.service.monitor.sample();
    const status = await value<ConsoleStatus>(service, PATHS[0]!);
    expect(status).toMatchObject({
      format: 'vouchsafe/console/1',
      time: NOW / 1000,
      hardware: 'SIMULATED',
      ready: true,
      evidence: { head: { seq: 1, age_seconds: 0, devices: 1 }, failure: null },
      self_check: { state: 'off' },
      keyset: { generation: 0 },
      log: { entries: 4, published: expect.any(Number), failure: null },
      engine: { state: 'ready' },
      models: [{ id: 'fake', state: 'ready' }],
      requests: { inside: 0, waiting: 0, places: 7 },
      machine: { cpu: { platform: 'snp' }, devices: [{ kind: 'gpu' }] },
      documents: [{ seq: 0 }, { seq: 1, log_size: 3 }],
      findings,
    });
    expect(codes(status)).toEqual(['MACHINE_UNUSABLE', 'SELF_CHECK_OFF', 'SIMULATED']);
    const { samples, next } = await value<{ samples: object[]; next: number }>(service, PATHS[1]!);
    expect([samples, next]).toMatchObject([[{ inside: 0, p50_ms: expect.any(Number) }], 1]);
    const feed = await value<FeedPage>(service, PATHS[2]!);
    expect(feed.entries).toMatchObject([
      { kind: 'open', index: 0 },
      { kind: 'receipt', index: 1, model: 'fake', outcome: 'complete', chunks: null },
      { kind: 'receipt', index: 2, usage: { prompt_tokens: 4, completion_tokens: 3 } },
      { kind: 'epoch', index: 3 },
    ]);
    for (const path of PATHS) {
      const [, text] = await read(service, path);
      for (const secret of ['acme', 'quick', ADMIN]) expect(text).not.toContain(secret);
    }
  });

  test('pages through the log both ways and says what it left out', async () => {
    const service = await startTestService({ keys: KEYS });
    for (let i = 0; i < 5; i++) await generate(service);
    const page = (query: string): Promise<FeedPage> => value(service, `${PATHS[2]!}${query}`);
    const indexes = async (query: string): Promise<unknown> => {
      const { skipped, entries } = await page(query);
      return [skipped, ...entries.map(({ index }) => index)];
    };
    expect(await indexes('?limit=2')).toEqual([4, 4, 5]);
    expect(await indexes('?after=2')).toEqual([0, 3, 4, 5]);
    expect(await indexes('?after=0&limit=3')).toEqual([2, 3, 4, 5]);
    expect(await indexes('?before=3&limit=2')).toEqual([1, 1, 2]);
    expect(await indexes('?after=5')).toEqual([0]);
    expect(await indexes('?after=999999')).toEqual([0]);
    expect(await indexes('?before=0')).toEqual([0]);
  });

  test('raises alarms with a code, a cause and advice while the service refuses its own evidence', async () => {
    const { collector, faults, heal } = await faultyHardware();
    const service = await startTestService({ keys: KEYS }, { world: { collector, selfCheck: {} } });
    const attest = (): Promise<unknown> =>
      service.world.vouching.attest(randomBytes(32)).catch(() => undefined);
    expect(codes(await value(service, PATHS[0]!))).toEqual(['SIMULATED']);
    faults.collateral = () => NO_COLLATERAL;
    await attest();
    const status = await value<ConsoleStatus>(service, PATHS[0]!);
    expect(status.self_check).toMatchObject({ state: 'failed', refusal: 'COLLATERAL_MISSING' });
    expect(status.alarms[0]).toMatchObject({
      code: 'SELF_CHECK_FAILED',
      severity: 'critical',
      causes: [{ code: 'COLLATERAL_MISSING', advice: expect.stringMatching(/./) }],
    });
    heal();
    await attest();
    const healed = await value<ConsoleStatus>(service, PATHS[0]!);
    expect([healed.self_check.state, codes(healed)]).toEqual(['passed', ['SIMULATED']]);
  });

  test('says what is stopped once the service stops and its log fails', async () => {
    const service = await startTestService({ keys: KEYS }, { logFailure: () => 'LOG_ENDED' });
    service.engine.state = 'restarting';
    await service.world.vouching.stop();
    const status = await value<ConsoleStatus>(service, PATHS[0]!);
    expect(codes(status).slice(0, 3)).toEqual(['ENGINE_DOWN', 'LOG_FAILED', 'SERVICE_STOPPING']);
  });
});
