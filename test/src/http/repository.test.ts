import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { Engine } from '../../../src/engine/engine.ts';
import { startTestEngine } from '../../support/engine.ts';
import { craftIdentity, craftOnnx } from '../../support/onnx.ts';
import { apiKey, issuedClaims, startTestService, type TestService } from '../../support/service.ts';
import { makeStore } from '../../support/store.ts';

const admin = apiKey('admin');
const TENSOR = { name: 'x', shape: [4], datatype: 'FP32', data: [1, 2, 3, 4] };

const open: Engine[] = [];
afterEach(() => Promise.all(open.splice(0).map((engine) => engine.close())));

interface Repository {
  readonly service: TestService;
  readonly engine: Engine;
  readonly directory: string;
  readonly ask: (path: string, body?: unknown) => Promise<readonly [number, unknown]>;
  readonly infer: (model: string) => Promise<readonly [number, unknown]>;
}

async function start(files: Record<string, Uint8Array>): Promise<Repository> {
  const directory = await makeStore(files);
  const engine = await startTestEngine(directory);
  open.push(engine);
  const keys = { adminKeySha256: admin.entry.sha256 };
  const service = await startTestService({ keys, models: { directory } }, { engine });
  const read = async (answer: Response): Promise<readonly [number, unknown]> => [
    answer.status,
    await answer.json(),
  ];
  return {
    service,
    engine,
    directory,
    ask: async (path, body = '') =>
      read(await service.post(`/v2/repository/${path}`, body, { authorization: `Bearer ${admin.key}` })),
    infer: async (model) => read(await service.post(`/v2/models/${model}/infer`, { inputs: [TENSOR] })),
  };
}

describe('the model repository', () => {
  test('is for the admin key alone, also on loopback without one', async () => {
    const { entry } = apiKey('user');
    for (const keys of [{}, { adminKeySha256: admin.entry.sha256 }, { apiKeys: [entry] }]) {
      const service = await startTestService({ keys });
      for (const path of ['index', 'models/fake/load', 'models/fake/unload']) {
        for (const headers of [{}, { authorization: 'Bearer key-of-user' }]) {
          const answer = await service.post(`/v2/repository/${path}`, '', headers);
          expect([answer.status, await answer.text()]).toEqual([
            401,
            expect.stringContaining('ADMIN_KEY_REQUIRED'),
          ]);
        }
      }
      expect(service.engine.models.has('fake')).toBe(true);
    }
  });

  test('lists, unloads and loads', async () => {
    const { ask, infer, directory } = await start({ 'a.onnx': craftOnnx(), 'b.onnx': craftOnnx() });
    await writeFile(join(directory, 'c.onnx'), Buffer.from('junk'));
    expect(await ask('index')).toEqual([
      200,
      [
        { name: 'a', version: '1', state: 'READY', reason: '' },
        { name: 'b', version: '1', state: 'READY', reason: '' },
        { name: 'c', state: 'UNAVAILABLE', reason: expect.stringContaining('FILE_MALFORMED') },
      ],
    ]);
    expect(await ask('models/a/unload', { parameters: { unload_dependents: true } })).toEqual([
      200,
      { name: 'a' },
    ]);
    expect((await infer('a'))[0]).toBe(404);
    expect((await infer('b'))[0]).toBe(200);
    expect(await ask('index', { ready: true })).toMatchObject([200, [{ name: 'b' }]]);
    expect(await ask('index')).toMatchObject([
      200,
      [{ name: 'a', state: 'UNAVAILABLE', reason: 'not loaded' }, {}, {}],
    ]);
    expect(await ask('models/a/load')).toMatchObject([200, { name: 'a', version: '1' }]);
    expect((await infer('a'))[0]).toBe(200);
  });

  test('loads anew what has changed, and receipts say which', async () => {
    const { ask, infer, directory, service } = await start({ 'a.onnx': craftOnnx() });
    expect(await infer('a')).toMatchObject([200, { outputs: [{ data: [2, 4, 6, 8] }] }]);
    await writeFile(join(directory, 'a.onnx'), craftIdentity(['FP32', [-1]]));
    const [status, loaded] = await ask('models/a/load', {});
    expect(status).toBe(200);
    expect(await infer('a')).toMatchObject([200, { outputs: [{ data: [1, 2, 3, 4] }] }]);
    const digests = issuedClaims(service).map(({ manifestDigest }) =>
      Buffer.from(manifestDigest).toString('hex'),
    );
    expect(new Set(digests).size).toBe(2);
    expect(digests[1]).toBe((loaded as { manifest_digest: string }).manifest_digest);
  });

  test('keeps the former where the new one is refused', async () => {
    const { ask, infer, directory } = await start({ 'a.onnx': craftOnnx() });
    const file = join(directory, 'a.onnx');
    const good = await readFile(file);
    await writeFile(file, good.subarray(0, 20));
    expect(await ask('models/a/load')).toEqual([400, { error: expect.stringContaining('MODEL_UNLOADABLE') }]);
    await writeFile(file, craftIdentity(['BF16', [1]]));
    expect(await ask('models/a/load')).toEqual([400, { error: expect.stringContaining('BF16') }]);
    await rm(file);
    expect(await ask('models/a/load')).toEqual([404, { error: expect.stringContaining('MODEL_NOT_FOUND') }]);
    expect((await infer('a'))[0]).toBe(200);
  });

  test.each<[string, string, unknown, number, string]>([
    ['an unknown model', 'models/none/unload', '', 404, 'MODEL_NOT_FOUND'],
    ['a path for a model', 'models/..%2Fa/load', '', 404, 'MODEL_NOT_FOUND'],
    [
      'a configuration',
      'models/a/load',
      { parameters: { config: '{}' } },
      400,
      'PARAMETER_UNSUPPORTED: .*config',
    ],
    ['files', 'models/a/load', { parameters: { 'file:1/model.onnx': '' } }, 400, 'PARAMETER_UNSUPPORTED'],
    [
      'an unknown parameter',
      'models/a/unload',
      { parameters: { force: true } },
      400,
      'PARAMETER_UNSUPPORTED: .*force',
    ],
    ['an unknown member', 'index', { repository_name: 'x' }, 400, 'INVALID_INPUT: .*repository_name'],
    ['another type', 'index', { ready: 'yes' }, 400, 'INVALID_INPUT: ready'],
    ['no JSON', 'index', '{', 400, 'BODY_INVALID'],
    ['a large body', 'index', ' '.repeat(70_000), 413, 'BODY_TOO_LARGE'],
  ])('refuses %s', async (_name, path, body, status, code) => {
    const service = await startTestService({ keys: { adminKeySha256: admin.entry.sha256 } });
    const answer = await service.post(`/v2/repository/${path}`, body, {
      authorization: `Bearer ${admin.key}`,
    });
    expect([answer.status, await answer.text()]).toEqual([
      status,
      expect.stringMatching(`^{"error":"${code}`),
    ]);
  });

  test('an unload waits for the calls of its model, and what comes later is refused', async () => {
    const { engine } = await start({ 'a.onnx': craftOnnx() });
    const input = { ...TENSOR, datatype: 'FP32' as const, data: Float32Array.of(1, 2, 3, 4) };
    const ended: string[] = [];
    const calls = Array.from({ length: 20 }, () => engine.infer('a', [input]).then(() => ended.push('call')));
    const unloaded = engine.unload('a').then(() => ended.push('unload'));
    expect(engine.changing.get('a')).toBe('UNLOADING');
    await expect(engine.infer('a', [input])).rejects.toMatchObject({ code: 'UNKNOWN_MODEL' });
    await Promise.all([...calls, unloaded]);
    expect(ended).toEqual([...Array.from({ length: 20 }, () => 'call'), 'unload']);
    expect(engine.changing.size).toBe(0);
  });

  test('survives the end of the engine process: what was unloaded stays so', async () => {
    const { engine, ask, infer } = await start({ 'a.onnx': craftOnnx(), 'b.onnx': craftOnnx() });
    await ask('models/a/unload');
    await ask('models/b/load');
    process.kill(engine.health().pid!, 'SIGKILL');
    while (engine.health().restarts === 0 || engine.health().state !== 'ready') {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(engine.health().refused).toEqual([]);
    expect([(await infer('a'))[0], (await infer('b'))[0]]).toEqual([404, 200]);
  });
});
