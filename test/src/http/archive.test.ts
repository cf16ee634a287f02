import { describe, expect, test } from '@jest/globals';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { ArchiveError } from '../../../src/archive/errors.ts';
import { contextOf } from '../../support/world.ts';
import { ADMIN, ALICE, AUDITOR, begin, BOB } from '../archive/served.ts';

const codeOf = async (response: Response): Promise<unknown> =>
  ((await response.json()) as { error: { code: string } }).error.code;

describe('who sees what of the archive', () => {
  test('nobody without a key, and no tenant the receipt of another, on any path', async () => {
    const { get, post, ask, url } = await begin({ keepsContent: true });
    const { id, k } = await ask(ALICE.key);
    const openapi = (await (await get('/openapi.json')).json()) as { paths: Record<string, object> };
    const paths = Object.keys(openapi.paths).filter((path) => path.startsWith('/v1/archive/'));
    expect(paths.length).toBeGreaterThan(8);
    const entry = Buffer.from(await (await get(`/v1/archive/receipts/${id}`, ALICE.key)).arrayBuffer());
    expect(entry.length).toBeGreaterThan(100);
    const leaks = (text: Buffer): boolean => text.includes(id) || text.includes(entry.subarray(-64));
    const more = [
      `/v1/receipts/${id}`,
      `/v1/receipts/${id}/bundle`,
      '/log/tile/entries/000',
      '/log/tile/entries/000.p/2',
      '/log/tile/entries/000.p/3',
      '/tile/entries/000.p/2',
    ];
    for (const key of [undefined, 'wrong', BOB.key]) {
      for (const path of [...paths.map((each) => each.replace('{id}', id).replace('{digest}', k)), ...more]) {
        for (const method of ['GET', 'POST'] as const) {
          const response = await fetch(url + path, {
            method,
            headers: {
              'content-type': 'application/json',
              ...(key !== undefined && { authorization: `Bearer ${key}` }),
            },
            ...(method === 'POST' && { body: JSON.stringify({ rule: 'r', receipt: id, k }) }),
          });
          expect([path, leaks(Buffer.from(await response.arrayBuffer()))]).toEqual([path, false]);
          if (path !== '/v1/archive/receipts' || key !== BOB.key) {
            expect([path, response.status >= 400]).toEqual([path, true]);
          }
        }
      }
    }
    const mine = await get('/v1/archive/receipts', ALICE.key);
    expect(await mine.json()).toMatchObject({ receipts: [{ id, tenant: 'alice' }], next: null });
    const all = await get('/v1/archive/receipts', AUDITOR.key);
    expect(await all.json()).toMatchObject({ receipts: [{ id }] });
    expect(await codeOf(await post('/v1/archive/holds', { tenant: 'a', rule: 'r' }, AUDITOR.key))).toBe(
      'ADMIN_KEY_REQUIRED',
    );
  });

  test('where it is off, it says so to those with a key', async () => {
    const { get } = await begin({}, false);
    expect(await codeOf(await get('/v1/archive/receipts', ALICE.key))).toBe('ARCHIVE_OFF');
    expect((await get('/v1/archive/receipts')).status).toBe(401);
  });
});

describe('the archive over HTTP', () => {
  test('gives receipts, bundles and content; the answer is what the receipt commits to', async () => {
    const { get, ask, one } = await begin({ keepsContent: true });
    const { id, k, body } = await ask(ALICE.key);
    await one.vouching.covered(1);
    await one.archive.catchUp();
    const bundle = await get(`/v1/archive/receipts/${id}/bundle`, ALICE.key);
    const result = await appraiseBundle(new Uint8Array(await bundle.arrayBuffer()), {}, contextOf());
    expect(result.verdict.decision).toBe('accepted');
    const content = (await (await get(`/v1/archive/receipts/${id}/content`, ALICE.key)).json()) as {
      k: string;
      request: string;
      response: { body: string };
    };
    expect(content.k).toBe(k);
    expect(Buffer.from(content.response.body, 'base64url').toString()).toBe(body);
    expect(Buffer.from(content.request, 'base64url').toString()).toContain('hello');
    expect(await (await get(`/v1/archive/receipts/${id}/facts`, ADMIN.key)).json()).toMatchObject({
      id,
      tenant: 'alice',
      content: 'kept',
      evidence: { seq: 0, platform: 'snp' },
    });
  });

  test('keeps the chunks of a stream', async () => {
    const { post, get, one } = await begin({ keepsContent: true });
    const response = await post('/v1/completions', { model: 'fake', prompt: 'hi', stream: true }, ALICE.key);
    const text = await response.text();
    const id = response.headers.get('vouchsafe-receipt-id')!;
    await one.archive.catchUp();
    const content = (await (await get(`/v1/archive/receipts/${id}/content`, ALICE.key)).json()) as {
      response: { kind: string; chunks: string[] };
    };
    const chunks = content.response.chunks.map((chunk) => Buffer.from(chunk, 'base64url').toString());
    expect(content.response.kind).toBe('stream');
    expect(chunks.at(-1)).toBe('[DONE]');
    for (const chunk of chunks) expect(text).toContain(`data: ${chunk}\n`);
  });

  test('holds, erases and lists what was done, under rules that are named', async () => {
    const { get, post, ask } = await begin({ keepsContent: true });
    const { id } = await ask(ALICE.key);
    const held = await post('/v1/archive/holds', { tenant: 'alice', rule: 'case 7' }, ADMIN.key);
    expect(held.status).toBe(201);
    const { id: hold } = (await held.json()) as { id: string };
    const erase = { receipt: id, rule: 'GDPR Art. 17' };
    expect(await codeOf(await post('/v1/archive/erasures', erase, ADMIN.key))).toBe('ARCHIVE_UNDER_HOLD');
    expect((await post(`/v1/archive/holds/${hold}/lift`, { rule: 'settled' }, ADMIN.key)).status).toBe(200);
    expect(await (await post('/v1/archive/erasures', erase, ADMIN.key)).json()).toEqual({ erased: 1 });
    const gone = await get(`/v1/archive/receipts/${id}/content`, ALICE.key);
    expect(gone.status).toBe(410);
    const { acts } = (await (await get('/v1/archive/acts', AUDITOR.key)).json()) as {
      acts: { act: string }[];
    };
    expect(acts.map(({ act }) => act).sort()).toEqual(['content-erased', 'hold-lifted', 'hold-placed']);
    expect(await (await get('/v1/archive/holds', AUDITOR.key)).json()).toMatchObject({
      holds: [{ id: hold, tenant: 'alice', rule: 'case 7', lifted: expect.any(Number) }],
    });
    const registered = await post('/v1/archive/policies', SIMULATED_POLICY, ADMIN.key);
    const { digest } = (await registered.json()) as { digest: string };
    expect(await (await get(`/v1/archive/policies/${digest}`, AUDITOR.key)).json()).toEqual(
      JSON.parse(JSON.stringify(SIMULATED_POLICY)),
    );
  });

  test('finds by time, model, tenant, device, TCB, policy and outcome, in pages', async () => {
    const { get, ask, one } = await begin();
    for (const key of [ALICE.key, BOB.key, ALICE.key]) await ask(key);
    interface Page {
      receipts: { id: string; evidence: { tcb: string; chip: string } }[];
      next: string | null;
    }
    const find = async (query: string): Promise<Page> =>
      (await (await get(`/v1/archive/receipts?${query}`, AUDITOR.key)).json()) as Page;
    const first = await find('limit=2');
    expect(first.receipts).toHaveLength(2);
    const second = await find(`limit=2&cursor=${String(first.next)}`);
    expect(second).toMatchObject({ receipts: [{}], next: null });
    const { tcb, chip } = first.receipts[0]!.evidence;
    const [serial] = one.vouching.head.serials;
    const device = Buffer.from(serial!).toString('hex');
    const found = async (query: string): Promise<number> => (await find(query)).receipts.length;
    expect(await found('tenant=bob')).toBe(1);
    expect(await found('model=fake&outcome=complete')).toBe(3);
    expect(await found('outcome=error')).toBe(0);
    expect(await found(`device=${device}`)).toBe(3);
    expect(await found('device=00ff')).toBe(0);
    expect(await found(`tcb=${tcb}&chip=${chip}&platform=snp`)).toBe(3);
    expect(await found('tcb=tdx:')).toBe(0);
    expect(await found(`policy=${'0'.repeat(64)}`)).toBe(0);
    expect(await found(`instance=${one.instance}`)).toBe(3);
    expect(await found('from=2026-11-21T11:00:00Z&to=2026-11-21T13:00:00Z')).toBe(3);
    expect(await found('to=2026-11-21T11:00:00Z')).toBe(0);
    for (const wrong of ['limit=0', 'limit=5000', 'cursor=x', 'outcome=odd', 'more=1', 'from=soon']) {
      expect(await codeOf(await get(`/v1/archive/receipts?${wrong}`, AUDITOR.key))).toBe(
        'ARCHIVE_QUERY_INVALID',
      );
    }
  });

  test('a receipt whose tenant was lost is claimed with its key, and with no other', async () => {
    const { get, post, ask, sql } = await begin();
    const { id, k } = await ask(ALICE.key);
    await sql.batch([{ text: 'UPDATE archive_entries SET tenant = NULL' }]);
    expect((await get(`/v1/archive/receipts/${id}`, ALICE.key)).status).toBe(404);
    const claim = (key: string, given: string): Promise<Response> =>
      post(`/v1/archive/receipts/${id}/claim`, { k: given }, key);
    expect(await codeOf(await claim(BOB.key, k))).toBe('ARCHIVE_CLAIM_REFUSED');
    const other = Buffer.alloc(32, 9).toString('base64url');
    expect(await codeOf(await claim(ALICE.key, other))).toBe('ARCHIVE_CLAIM_REFUSED');
    expect((await claim(ALICE.key, k)).status).toBe(200);
    expect((await get(`/v1/archive/receipts/${id}`, ALICE.key)).status).toBe(200);
  });

  test('an answer whose content cannot be kept does not go out, and has no receipt', async () => {
    const { post, one } = await begin({ keepsContent: true });
    const size = one.log.durableSize;
    one.archive.keep = () => Promise.reject(new ArchiveError('STORE_UNAVAILABLE', 'gone'));
    const refused = await post('/v1/embeddings', { model: 'fake', input: 'hello' }, ALICE.key);
    expect(refused.status).toBe(503);
    expect(await codeOf(refused)).toBe('ARCHIVE_STORE_UNAVAILABLE');
    expect(one.log.durableSize).toBe(size);
  });

  test('says its state', async () => {
    const { get, ask } = await begin();
    await ask(ALICE.key);
    expect(await (await get('/v1/archive/status', AUDITOR.key)).json()).toMatchObject({
      mirror: { state: 'ready', content: false },
      store: { store: 'embedded', findings: [], instances: [{ live: true }] },
    });
  });
});
