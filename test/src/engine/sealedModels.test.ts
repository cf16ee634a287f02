import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import type { Engine } from '../../../src/engine/engine.ts';
import { sealModel } from '../../../src/models/sealed/sealModel.ts';
import { readRelease, readStore } from '../../../src/models/store.ts';
import { changeStore } from '../../../src/models/release/releaseStore.ts';
import { filesOf, layoutOf } from '../../../src/models/release/layout.ts';
import { startTestEngine } from '../../support/engine.ts';
import { craftOnnx } from '../../support/onnx.ts';
import { add, temporaryFolder } from '../../support/releases.ts';
import { until } from '../../support/service.ts';
import { makeStore } from '../../support/store.ts';

jest.setTimeout(120_000);

const DATA_KEY = randomBytes(32);
const KEY = { holder: 'vouchsafe', name: 'k1', wrapped: randomBytes(60) } as const;
const INPUT = { name: 'x', datatype: 'FP32', shape: [4], data: Float32Array.of(0, 1, 2, 3) } as const;

const open: Engine[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((engine) => engine.close()));
});

async function start(...options: Parameters<typeof startTestEngine>): Promise<Engine> {
  const engine = await startTestEngine(...options);
  open.push(engine);
  return engine;
}

/** A store in clear, and one with the same model sealed. */
async function twoStores(): Promise<{ readonly clear: string; readonly sealed: string }> {
  const clear = await makeStore({ 'tiny/model.onnx': craftOnnx(), 'tiny/config.json': '{"hidden_size":4}' });
  const sealed = await makeStore();
  const folders = { source: join(clear, 'tiny'), target: join(sealed, 'tiny') };
  await sealModel({ ...folders, dataKey: DATA_KEY, key: KEY, chunkBytes: 4096 });
  return { clear, sealed };
}

/** Gives the key as often as it is asked for, and remembers what it gave. */
function keeper(key: Uint8Array = DATA_KEY) {
  const given: Uint8Array[] = [];
  return {
    given,
    dataKey: () => {
      const copy = Uint8Array.from(key);
      given.push(copy);
      return Promise.resolve(copy);
    },
  };
}

const isForgotten = (key: Uint8Array): boolean => key.every((byte) => byte === 0);

describe('the engine and sealed models', () => {
  test('runs one as if it lay in clear: its manifest is of the plaintext', async () => {
    const { clear, sealed } = await twoStores();
    const { dataKey } = keeper();
    const [plain, opened] = [await start(clear), await start(sealed, { dataKey })];
    expect(opened.models.get('tiny')!.manifest).toEqual(plain.models.get('tiny')!.manifest);
    expect(await opened.infer('tiny', [INPUT])).toEqual(await plain.infer('tiny', [INPUT]));
  });

  test('overwrites the key once the process has it', async () => {
    const { sealed } = await twoStores();
    const { given, dataKey } = keeper();
    await start(sealed, { dataKey });
    expect(given).toHaveLength(1);
    await until(() => given.every(isForgotten));
  });

  test('asks again when the process has died, and when the model is loaded anew', async () => {
    const { sealed } = await twoStores();
    const { given, dataKey } = keeper();
    const engine = await start(sealed, { dataKey, backoff: { firstMs: 10, capMs: 10 } });
    process.kill(engine.health().pid!, 'SIGKILL');
    await until(() => engine.health().restarts === 1 && engine.health().state === 'ready');
    expect(given).toHaveLength(2);
    const [source] = (await readStore(sealed)).models;
    await engine.load(source!);
    expect(given).toHaveLength(3);
    await engine.infer('tiny', [INPUT]);
    await until(() => given.every(isForgotten));
  });

  test('serves the rest where a key is not released any more', async () => {
    const { sealed } = await twoStores();
    await writeFile(join(sealed, 'plain.onnx'), craftOnnx());
    let released = true;
    const engine = await start(sealed, {
      backoff: { firstMs: 10, capMs: 10 },
      dataKey: () => (released ? keeper().dataKey() : Promise.reject(new Error('the policy says no'))),
    });
    released = false;
    process.kill(engine.health().pid!, 'SIGKILL');
    await until(() => engine.health().restarts === 1 && engine.health().state === 'ready');
    await expect(engine.infer('tiny', [INPUT])).rejects.toMatchObject({ code: 'MODEL_REFUSED' });
    expect(engine.health().refused).toEqual([
      expect.objectContaining({ model: 'tiny', code: 'DATA_KEY_MISSING' }),
    ]);
    expect(await engine.infer('plain', [INPUT])).toHaveLength(1);
  });

  test.each([
    ['nobody is asked for keys', {}, 'DATA_KEY_MISSING'],
    ['no key is released', { dataKey: () => Promise.reject(new Error('refused')) }, 'DATA_KEY_MISSING'],
    ['another key is released', { dataKey: keeper(randomBytes(32)).dataKey }, 'SEALED_REFUSED'],
    ['something else is released', { dataKey: keeper(randomBytes(5)).dataKey }, 'SEALED_REFUSED'],
  ])('refuses one where %s', async (_name, options, code) => {
    const { sealed } = await twoStores();
    await expect(start(sealed, options)).rejects.toMatchObject({ code, model: 'tiny' });
  });

  test('refuses one of which a byte changed', async () => {
    const { sealed } = await twoStores();
    const path = join(sealed, 'tiny/model.onnx.sealed');
    const bytes = await readFile(path);
    bytes[bytes.length >> 1]! ^= 1;
    await writeFile(path, bytes);
    await expect(start(sealed, keeper())).rejects.toMatchObject({
      code: 'SEALED_REFUSED',
      file: 'model.onnx',
    });
  });
});

describe('sealed releases', () => {
  test('are added, verified by their record, and opened', async () => {
    const { clear, sealed } = await twoStores();
    const directory = await temporaryFolder();
    await add({ directory, source: join(sealed, 'tiny') });
    const engine = await start(directory, keeper());
    const plain = await start(clear);
    expect(engine.models.get('tiny')!.manifest).toEqual(plain.models.get('tiny')!.manifest);
    expect((await readRelease(directory, 'tiny@1')).sealed).toBeDefined();
  });

  test('whose file is exchanged for another that opens are refused by the record', async () => {
    const { sealed } = await twoStores();
    const directory = await temporaryFolder();
    await add({ directory, source: join(sealed, 'tiny') });
    await changeStore(directory, (store) => store.setAlias('tiny', 'tiny@1'));
    const path = join(filesOf(layoutOf(directory), 'tiny@1'), 'config.json.sealed');
    const source = await readRelease(directory, 'tiny@1');
    const file = source.files.find(({ path: name }) => name === 'config.json')!;
    expect(file.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect((await readFile(path)).length).toBe(file.size + 16);
    const files = source.files.map((each) => (each === file ? { ...each, sha256: '0'.repeat(64) } : each));
    const engine = await start(directory, keeper());
    await expect(engine.load({ ...source, files })).rejects.toMatchObject({ code: 'FILE_CHANGED' });
  });
});
