import { afterEach } from '@jest/globals';
import { openEmbedded } from '../../../src/archive/embedded.ts';
import type { Sql } from '../../../src/archive/sql.ts';
import { listen } from '../../../src/http/listen.ts';
import { createServiceLog } from '../../../src/http/logging.ts';
import { createService, type Service } from '../../../src/http/service.ts';
import { FakeEngine } from '../../support/fakeEngine.ts';
import { apiKey, makeFolder, testConfig } from '../../support/service.ts';
import { NOW } from '../../support/world.ts';
import { startInstance, type InstanceOptions, type TestInstance } from './instance.ts';

export const ALICE = apiKey('alice');
export const BOB = apiKey('bob');
export const AUDITOR = apiKey('auditor');
export const ADMIN = apiKey('admin');

/** An archive with its service over a socket. */
export interface Running {
  readonly url: string;
  readonly one: TestInstance;
  readonly sql: Sql;
  readonly get: (path: string, key?: string) => Promise<Response>;
  readonly post: (path: string, body: unknown, key?: string) => Promise<Response>;
  /** Asks for an embedding; resolves with the answer, once the archive has its receipt. */
  readonly ask: (key: string) => Promise<{ readonly id: string; readonly k: string; readonly body: string }>;
}

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

export async function begin(options: Partial<InstanceOptions> = {}, withArchive = true): Promise<Running> {
  const folder = await makeFolder();
  const sql = await openEmbedded(`${folder}/archive.db`);
  closing.push(() => sql.close());
  const one = await startInstance({ folder, sql, ...options });
  const { keyring } = one;
  const service: Service = createService({
    config: testConfig({
      keys: {
        apiKeys: [ALICE.entry, BOB.entry],
        auditorKeys: [AUDITOR.entry],
        adminKeySha256: ADMIN.entry.sha256,
      },
    }),
    engine: new FakeEngine(),
    vouching: one.vouching,
    archive: withArchive ? one.archive : undefined,
    logs: { own: one.log, former: { logs: [], open: () => Promise.resolve(undefined) } },
    keyset: keyring.keyset,
    hpkeKeys: () => [keyring.hpke.privateKey],
    simulated: true,
    software: { name: 'vouchsafe', version: '0.0.0-test' },
    logFailure: () => undefined,
    log: createServiceLog({ level: 'error', format: 'json' }),
    now: () => NOW,
  });
  const { port, drain } = await listen(service);
  closing.push(async () => {
    await drain(0);
    service.metrics.close();
  });
  const url = `http://127.0.0.1:${port}`;
  const headers = (key?: string): Record<string, string> =>
    key === undefined ? {} : { authorization: `Bearer ${key}` };
  const post: Running['post'] = (path, body, key) =>
    fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers(key) },
      body: JSON.stringify(body),
    });
  return {
    url,
    one,
    sql,
    get: (path, key) => fetch(url + path, { headers: headers(key) }),
    post,
    ask: async (key) => {
      const response = await post('/v1/embeddings', { model: 'fake', input: 'hello' }, key);
      const body = await response.text();
      if (response.status !== 200) throw new Error(`${response.status} ${body}`);
      await one.archive.catchUp();
      const id = response.headers.get('vouchsafe-receipt-id')!;
      return { id, k: response.headers.get('vouchsafe-commitment-key')!, body };
    },
  };
}
