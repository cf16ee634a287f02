import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { freePort } from '../../../scripts/freePort.ts';
import { apiKey, makeFolder } from '../../support/service.ts';
import { PROGRAM } from '../cli/program.ts';

const ALICE = apiKey('alice');

test('processes that serve HTTP beside the one that signs hand it content and the names of tenants', async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const authorization = `Bearer ${ALICE.key}`;
  const service = spawn(process.execPath, [PROGRAM, 'serve', '--simulated', '--port', String(port)], {
    env: {
      ...process.env,
      VOUCHSAFE_DATA_DIRECTORY: await makeFolder(),
      VOUCHSAFE_SERVER_PROCESSES: '2',
      VOUCHSAFE_KEYS_API_KEYS: JSON.stringify([ALICE.entry]),
      VOUCHSAFE_ARCHIVE_ENABLED: 'true',
      VOUCHSAFE_ARCHIVE_CONTENT: 'true',
      VOUCHSAFE_ARCHIVE_CONTENT_KEY: '07'.repeat(32),
    },
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => service.once('exit', resolve));
  try {
    const isReady = (): Promise<boolean> =>
      fetch(`${url}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      );
    while (service.exitCode === null && !(await isReady())) await delay(100);
    const asked = await fetch(`${url}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization },
      body: JSON.stringify({ model: 'glove-sif-100d', input: 'a red car' }),
    });
    expect(asked.status).toBe(200);
    const id = asked.headers.get('vouchsafe-receipt-id')!;
    const path = `${url}/v1/archive/receipts/${id}/content`;
    const read = (): Promise<Response> => fetch(path, { headers: { authorization } });
    let content = await read();
    while (content.status === 404) {
      await delay(100);
      content = await read();
    }
    const { response } = (await content.json()) as { response: { body: string } };
    expect(Buffer.from(response.body, 'base64url').toString()).toBe(await asked.text());
  } finally {
    service.kill('SIGTERM');
    await ended;
  }
}, 120_000);
