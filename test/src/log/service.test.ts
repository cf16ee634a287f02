import { expect, test } from '@jest/globals';
import { parseRecord } from '../../../attestation/receipt/record.ts';
import { createServiceLog } from '../../../src/http/logging.ts';
import { openStorage } from '../../../src/log/openStorage.ts';
import { openReadOnlyLog } from '../../../src/log/readOnlyLog.ts';
import { recoverLogs } from '../../../src/log/recover.ts';
import { startService } from '../../../src/main.ts';
import { childEntry } from '../../support/engine.ts';
import { startObjectStore } from '../../support/objectStore.ts';
import { makeFolder, testConfig } from '../../support/service.ts';

test('a service whose logs are in an object store answers, and names its predecessor after a restart', async () => {
  const objects = await startObjectStore({ conditional: true });
  const { endpoint, bucket, prefix, accessKeyId, secretAccessKey } = objects.settings;
  const config = testConfig({
    data: { directory: await makeFolder(), logStorage: 'object-store' },
    objectStore: { endpoint, bucket, prefix, accessKeyId, secretAccessKey },
    engine: { provider: 'cpu', threads: 1 },
  });
  const embed = async (url: string): Promise<number> => {
    const response = await fetch(`${url}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'glove-sif-100d', input: 'hello' }),
    });
    await response.arrayBuffer();
    return response.status;
  };
  const start = () =>
    startService(config, {
      log: createServiceLog({ level: 'error', format: 'json' }),
      notice: () => undefined,
      childEntry: childEntry(),
      signs: [],
    });
  for (let i = 0; i < 2; i++) {
    const service = await start();
    expect(await embed(service.url)).toBe(200);
    await service.stop();
  }
  const storage = await openStorage(config);
  const { logs } = await recoverLogs(storage);
  expect(logs.map(({ state }) => state)).toEqual(['whole', 'whole']);
  const [first, second] = await Promise.all(
    logs.map(({ instance }) => openReadOnlyLog(storage.files(instance))),
  );
  const { record } = parseRecord(await second!.entry(0));
  expect(record).toMatchObject({ kind: 'open', predecessor: { origin: first!.origin } });
  await Promise.all([first!.audit(), second!.audit()]);
  storage.close();
  objects.server.mood = 'refuses';
  await expect(start()).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  await objects.close();
});
