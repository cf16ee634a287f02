import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { auditExport } from '../../../src/audit/audit.ts';
import type { AuditReport } from '../../../src/audit/report.ts';
import { openService } from '../../../src/audit/serviceSource.ts';
import { createServiceLog } from '../../../src/http/logging.ts';
import { type RunningService, startService } from '../../../src/main.ts';
import { childEntry } from '../../support/engine.ts';
import { apiKey, makeFolder, testConfig } from '../../support/service.ts';
import { contextOf } from '../../support/world.ts';

const [client, auditor] = [apiKey('client'), apiKey('audit')];
const MODEL = 'glove-sif-100d';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(directory: string): Promise<RunningService> {
  const config = testConfig({
    data: { directory },
    engine: { provider: 'cpu', threads: 1 },
    keys: { apiKeys: [client.entry], auditorKeys: [auditor.entry] },
    receipts: { epochReceipts: 3 },
  });
  const service = await startService(config, {
    log: createServiceLog({ level: 'error', format: 'json' }),
    notice: () => undefined,
    childEntry: childEntry(),
    signs: [],
  });
  closing.push(() => service.stop());
  return service;
}

/** Receipts, the last of which is covered when this resolves. */
async function ask({ url }: RunningService, receipts: number): Promise<void> {
  const headers = { authorization: `Bearer ${client.key}`, 'content-type': 'application/json' };
  let id = '';
  for (let i = 0; i < receipts; i++) {
    const body = JSON.stringify({ model: MODEL, input: `question ${i}` });
    const answer = await fetch(`${url}/v1/embeddings`, { method: 'POST', headers, body });
    expect(answer.status).toBe(200);
    id = answer.headers.get('vouchsafe-receipt-id')!;
  }
  const fresh = { ...headers, 'vouchsafe-fresh': '?1' };
  expect((await fetch(`${url}/v1/receipts/${id}/bundle`, { headers: fresh })).status).toBe(200);
}

/** A service in between that changes what passes through. */
async function between(url: string, alter: (path: string, body: Buffer) => void): Promise<string> {
  const server = createServer((request, response) => {
    const { authorization = '' } = request.headers;
    void fetch(`${url}${request.url ?? ''}`, { headers: { authorization } }).then(async (answer) => {
      const body = Buffer.from(await answer.arrayBuffer());
      if (answer.ok) alter(request.url!, body);
      response.writeHead(answer.status).end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function audit(url: string, key: string | undefined = auditor.key): Promise<AuditReport> {
  const context = contextOf({ now: Date.now() });
  const options = { name: url, context, signatures: 'covered', workers: 0, software: 'test' } as const;
  return auditExport(openService(url, key), options);
}

test('a running service and its former instance are audited over HTTP', async () => {
  const folder = await makeFolder();
  const first = await start(folder);
  await ask(first, 11);
  await first.stop();
  const { url } = await start(folder).then(async (service) => {
    await ask(service, 7);
    return service;
  });

  const report = await audit(url);
  expect(report.findings.filter(({ severity }) => severity !== 'note')).toEqual([]);
  expect(report.decision).toBe('accepted');
  expect(report.simulated).toEqual(['cpu', 'gpu']);
  expect(report.totals).toMatchObject({ instances: 2, receipts: 18 });
  expect(report.totals.documents).toBeGreaterThan(6);

  for (const key of [undefined, client.key]) {
    await expect(audit(url, key ?? '')).rejects.toMatchObject({ code: 'AUDIT_FORBIDDEN' });
  }

  const altered = await between(url, (path, body) => {
    if (path.includes('/tile/entries/')) body[body.length - 100]! ^= 1;
  });
  const refused = await audit(altered);
  expect(refused.decision).toBe('refused');
  expect(refused.findings.map(({ code }) => code)).toContain('TREE_MISMATCH');

  const withholding = await between(url, (path, body) => {
    if (/\/collateral\/[0-9a-f]{64}\.cbor$/.test(path)) body.fill(0);
  });
  expect((await audit(withholding)).decision).not.toBe('accepted');
}, 120_000);
