import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { createLogger, type Logger, transports } from 'winston';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import type { ConfigOverrides } from '../../src/config/load.ts';
import { type RunningService, startService } from '../../src/main.ts';
import { sealModel } from '../../src/models/sealed/sealModel.ts';
import { wrapDataKey } from '../../src/models/sealed/wrappedKey.ts';
import { childEntry } from '../support/engine.ts';
import { craftOnnx } from '../support/onnx.ts';
import { makeFolder, testConfig } from '../support/service.ts';
import { makeStore } from '../support/store.ts';

// Two services with an engine each; other suites may hold the cores meanwhile.
jest.setTimeout(180_000);

const KEY_NAME = 'models-2026';
const TENSOR = { name: 'x', datatype: 'FP32', shape: [4], data: [0, 1, 2, 3] };

const running: RunningService[] = [];
afterEach(async () => {
  for (const service of running.splice(0).reverse()) await service.stop();
});

function collecting(lines: string[]): Logger {
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston's own declarations
  return createLogger({ level: 'debug', transports: [new transports.Stream({ stream })] });
}

async function start(overrides: ConfigOverrides, lines: string[]): Promise<RunningService> {
  const config = testConfig({
    engine: { provider: 'cpu', threads: 1 },
    log: { level: 'debug' },
    ...overrides,
  });
  const service = await startService(config, {
    log: collecting(lines),
    notice: () => undefined,
    childEntry: childEntry(),
    signs: [],
  });
  running.push(service);
  return service;
}

/** A node that releases a key, and the folder of a model that only this key opens. */
async function makeNode(policy: Policy) {
  const [wrapping, dataKey] = [randomBytes(32), randomBytes(32)];
  const folder = await makeFolder();
  const [keys, policyFile, data, store] = ['keys', 'policy.json', 'node', 'models'].map((name) =>
    join(folder, name),
  );
  await Promise.all([keys, data, store].map((path) => mkdir(path!)));
  await writeFile(join(keys!, `${KEY_NAME}.key`), wrapping.toString('hex'));
  await writeFile(policyFile!, JSON.stringify(policy));
  const clear = await makeStore({ 'tiny/model.onnx': craftOnnx() });
  await sealModel({
    source: join(clear, 'tiny'),
    target: join(store!, 'tiny'),
    dataKey,
    key: { holder: 'vouchsafe', name: KEY_NAME, wrapped: wrapDataKey(wrapping, KEY_NAME, dataKey) },
  });
  const lines: string[] = [];
  const node = await start(
    {
      data: { directory: data },
      models: { directory: await makeFolder() },
      keyRelease: { keys, policy: policyFile },
    },
    lines,
  );
  return { node, wrapping, dataKey, data: data!, store: store!, lines };
}

async function filesBelow(folder: string): Promise<readonly Buffer[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name))));
}

describe('a service with a sealed model', () => {
  test('gets its key from another service, serves the model, and leaves no key on disk or in logs', async () => {
    const { node, wrapping, dataKey, data, store, lines } = await makeNode(SIMULATED_POLICY);
    const own = await makeFolder();
    const service = await start(
      {
        data: { directory: own },
        models: { directory: store },
        keyRelease: { from: 'vouchsafe', address: node.url },
      },
      lines,
    );
    const answer = await fetch(`${service.url}/v2/models/tiny/infer`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ inputs: [TENSOR] }),
    });
    expect(answer.status).toBe(200);
    const written = [...(await filesBelow(data)), ...(await filesBelow(own)), ...(await filesBelow(store))];
    expect(written.length).toBeGreaterThan(4);
    const weights = Buffer.from(Float32Array.of(1, 2, 3, 4).buffer);
    expect(Buffer.from(craftOnnx()).includes(weights)).toBe(true);
    for (const bytes of written) {
      for (const secret of [dataKey, wrapping, weights]) expect(bytes.includes(secret)).toBe(false);
    }
    const log = lines.join('\n');
    expect(log).toContain('data key released');
    for (const secret of [dataKey, wrapping]) {
      for (const encoding of ['hex', 'base64', 'base64url'] as const) {
        expect(log).not.toContain(secret.toString(encoding).slice(0, 16));
      }
    }
  });

  test('does not start where no key is released to it', async () => {
    const { node, store, lines } = await makeNode(DEFAULT_POLICY);
    const overrides = async (keyRelease: ConfigOverrides['keyRelease']): Promise<ConfigOverrides> => ({
      data: { directory: await makeFolder() },
      models: { directory: store },
      keyRelease,
    });
    const refused = { code: 'DATA_KEY_MISSING', model: 'tiny' };
    const asking = await overrides({ from: 'vouchsafe', address: node.url });
    await expect(start(asking, lines)).rejects.toMatchObject(refused);
    await expect(start(await overrides({}), lines)).rejects.toMatchObject(refused);
    const wrong = await overrides({ from: 'trustee', address: node.url });
    await expect(start(wrong, lines)).rejects.toMatchObject(refused);
  });
});
