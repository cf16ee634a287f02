import { appendFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { encodeBundleEntry } from '../../attestation/log/tiles.ts';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { createServiceLog } from '../../src/http/logging.ts';
import { openStorage } from '../../src/log/openStorage.ts';
import { openReadOnlyLog } from '../../src/log/readOnlyLog.ts';
import { recoverLogs } from '../../src/log/recover.ts';
import { type RunningService, startService } from '../../src/main.ts';
import { childEntry } from '../support/engine.ts';
import { makeFolder, testConfig } from '../support/service.ts';

const configIn = (directory: string) =>
  testConfig({ data: { directory }, engine: { provider: 'cpu', threads: 1 } });

function start(directory: string): Promise<RunningService> {
  return startService(configIn(directory), {
    log: createServiceLog({ level: 'error', format: 'json' }),
    notice: () => undefined,
    childEntry: childEntry(),
    signs: [],
  });
}

async function embed({ url }: RunningService): Promise<number> {
  const response = await fetch(`${url}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'glove-sif-100d', input: 'hello' }),
  });
  await response.arrayBuffer();
  return response.status;
}

async function originOf({ url }: RunningService): Promise<string | undefined> {
  const note = await (await fetch(`${url}/log/checkpoint`)).text();
  return note.split('\n')[0];
}

test('two instances of one data folder have two logs, and each is whole', async () => {
  const folder = await makeFolder();
  const one = await start(folder);
  const other = await start(folder);
  expect([await embed(one), await embed(other), await embed(one), await embed(other)]).toEqual([
    200, 200, 200, 200,
  ]);
  expect(await originOf(one)).not.toBe(await originOf(other));
  await Promise.all([one.stop(), other.stop()]);
  const storage = await openStorage(configIn(folder));
  const { logs } = await recoverLogs(storage);
  expect(logs.map(({ state }) => state)).toEqual(['whole', 'whole']);
  for (const { instance } of logs) await (await openReadOnlyLog(storage.files(instance))).audit();
  storage.close();
});

test('an instance into whose log another one writes stops, and what it gave out before stays', async () => {
  const folder = await makeFolder();
  const service = await start(folder);
  expect(await embed(service)).toBe(200);
  const instances = join(folder, 'instances');
  const [instance = ''] = await readdir(instances);
  const files = await readdir(join(instances, instance), { recursive: true });
  const journal = files.find((file) => /entries.*journal|journal/.test(file));
  expect(journal).toBeDefined();
  await appendFile(join(instances, instance, journal!), encodeBundleEntry(utf8('of another process')));
  expect(await embed(service)).toBe(503);
  const ready = await fetch(`${service.url}/readyz`);
  expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('LOG_DIVERGED')]);
  await service.stop();
  // A restart opens a log of its own, whose first record names the checkpoint of this one.
  const next = await start(folder);
  expect(await embed(next)).toBe(200);
  await next.stop();
  expect(await readdir(instances)).toHaveLength(2);
});
