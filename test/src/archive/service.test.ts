import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { openEmbedded } from '../../../src/archive/embedded.ts';
import type { ConfigOverrides } from '../../../src/config/load.ts';
import { createServiceLog } from '../../../src/http/logging.ts';
import { type RunningService, startService } from '../../../src/main.ts';
import { childEntry } from '../../support/engine.ts';
import { startObjectStore } from '../../support/objectStore.ts';
import { hasPostgres, startPostgres } from '../../support/postgres.ts';
import { apiKey, makeFolder, testConfig } from '../../support/service.ts';

const QUIET = createServiceLog({ level: 'error', format: 'json' });
const ALICE = apiKey('alice');
const AUDITOR = apiKey('auditor');

const closing: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

type Stores = () => Promise<Pick<ConfigOverrides, 'archive' | 'objectStore'>>;

const KINDS: readonly (readonly [string, Stores])[] = [
  ['an embedded database and a folder', () => Promise.resolve({})],
  ...(hasPostgres
    ? [
        [
          'PostgreSQL and an object store',
          async () => {
            const [postgres, objects] = [await startPostgres(), await startObjectStore()];
            closing.push(() => objects.close());
            const { bucket, accessKeyId, secretAccessKey, endpoint, region, prefix, pathStyle } =
              objects.settings;
            return {
              archive: { postgresql: await postgres.database(), blobs: 'object-store' as const },
              objectStore: { bucket, accessKeyId, secretAccessKey, endpoint, region, prefix, pathStyle },
            };
          },
        ] as const,
      ]
    : []),
];
if (!hasPostgres) test.skip('PostgreSQL and an object store: skipped: no PostgreSQL', () => undefined);

test.each(KINDS)(
  'a service that is started again serves the receipts of both instances: %s',
  async (_name, stores) => {
    const given = await stores();
    const config = testConfig({
      data: { directory: await makeFolder() },
      engine: { provider: 'cpu', threads: 1 },
      keys: { apiKeys: [ALICE.entry], auditorKeys: [AUDITOR.entry] },
      ...given,
      archive: { enabled: true, content: true, contentKey: '07'.repeat(32), ...given.archive },
    });
    const start = (): Promise<RunningService> =>
      startService(config, { log: QUIET, notice: () => undefined, childEntry: childEntry(), signs: [] });
    const ask = async ({ url }: RunningService): Promise<string> => {
      const response = await fetch(`${url}/v1/embeddings`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${ALICE.key}` },
        body: JSON.stringify({ model: 'glove-sif-100d', input: 'a red car' }),
      });
      expect(response.status).toBe(200);
      return response.headers.get('vouchsafe-receipt-id')!;
    };
    const get = async ({ url }: RunningService, path: string, key: string): Promise<unknown> =>
      (await fetch(url + path, { headers: { authorization: `Bearer ${key}` } })).json();
    const one = await start();
    const first = await ask(one);
    await one.stop();
    const two = await start();
    try {
      const second = await ask(two);
      const ids = async (): Promise<readonly string[]> => {
        const page = (await get(two, '/v1/archive/receipts', ALICE.key)) as { receipts: { id: string }[] };
        return page.receipts.map(({ id }) => id);
      };
      while ((await ids()).length < 2) await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await ids()).toEqual([first, second]);
      const content = await get(two, `/v1/archive/receipts/${first}/content`, ALICE.key);
      expect(content).toMatchObject({ receipt: first });
      const status = await get(two, '/v1/archive/status', AUDITOR.key);
      expect(status).toMatchObject({
        mirror: { content: true },
        store: { findings: [], instances: [{ complete: true, live: false }, { live: true }] },
      });
      const bundle = await fetch(`${two.url}/v1/archive/receipts/${first}/bundle`, {
        headers: { authorization: `Bearer ${ALICE.key}` },
      });
      expect(bundle.status).toBe(200);
      const ready = await fetch(`${two.url}/readyz`);
      expect(await ready.json()).toMatchObject({ status: 'ready', archive: { content: true } });
    } finally {
      await two.stop();
    }
  },
  120_000,
);

test('a start that fails at its last step leaves the whole log in the archive, final evidence included', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  closing.push(() => new Promise((resolve) => other.close(() => resolve())));
  const directory = await makeFolder();
  const config = testConfig({
    server: { port: (other.address() as AddressInfo).port },
    data: { directory },
    engine: { provider: 'cpu', threads: 1 },
    archive: { enabled: true },
  });
  const options = { log: QUIET, notice: () => undefined, childEntry: childEntry(), signs: [] };
  await expect(startService(config, options)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  const sql = await openEmbedded(join(directory, 'archive', 'archive.db'));
  closing.push(() => sql.close());
  const text = `SELECT i.complete, MAX(d.final) AS final FROM archive_instances i
    JOIN archive_documents d ON d.instance = i.instance GROUP BY i.instance, i.complete`;
  expect(await sql.query({ text })).toEqual([{ complete: 1, final: 1 }]);
}, 120_000);
