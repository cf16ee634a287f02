import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ModelError } from '../../../src/models/errors.ts';
import { readPlain } from '../../../src/models/files.ts';
import { readStore } from '../../../src/models/store.ts';
import { craftOnnx } from '../../support/onnx.ts';
import { copyShipped, makeStore, SHIPPED_MODELS } from '../../support/store.ts';

/** Code and file of the only refusal of a store. */
async function refusal(root: string): Promise<string> {
  const { models, refused } = await readStore(root);
  expect(models).toEqual([]);
  expect(refused).toHaveLength(1);
  expect(refused[0]!.advice).not.toBe('');
  return `${refused[0]!.code} ${refused[0]!.file}`;
}

describe('model store', () => {
  test('finds the shipped models with every file that decides their output', async () => {
    const { models, refused } = await readStore(SHIPPED_MODELS);
    expect(refused).toEqual([]);
    expect(models.map((model) => model.id)).toEqual(['glove-sif-100d', 'tinygpt-1m']);
    expect(models[1]!.files.map((file) => file.path).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'onnx/model.onnx',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
  });

  test('finds bare files, external data and templates; skips hidden and other files', async () => {
    const root = await makeStore({
      'add.onnx': craftOnnx(),
      'big/model.onnx': craftOnnx({ external: { location: 'parts/w.bin', length: '16' } }),
      'big/parts/w.bin': new Uint8Array(16),
      'big/chat_template.jinja': '{{ messages }}',
      'big/NOTES.md': 'not read',
      '.cache/x': '',
      'README.md': '',
    });
    const { models, refused } = await readStore(root);
    expect(refused).toEqual([]);
    expect(models.map(({ id, files }) => [id, files.map(({ path, role }) => `${role}:${path}`)])).toEqual([
      ['add', ['weights:add.onnx']],
      ['big', ['weights:model.onnx', 'external:parts/w.bin', 'template:chat_template.jinja']],
    ]);
  });

  test.each<readonly [string, Readonly<Record<string, string | Uint8Array>>, string]>([
    ['no weights', { 'm/config.json': '{}' }, 'WEIGHTS_MISSING model.onnx'],
    ['two models in one folder', { 'm/model.onnx': craftOnnx(), 'm/onnx/model.onnx': craftOnnx() }, 'MODEL_AMBIGUOUS onnx/model.onnx'],
    ['a bad name', { 'm m/model.onnx': craftOnnx() }, 'MODEL_ID_INVALID m m'],
    ['an adapter', { 'm/model.onnx': craftOnnx(), 'm/adapter_model.safetensors': '' }, 'ADAPTER_UNSUPPORTED adapter_model.safetensors'],
    ['a new IR version', { 'm/model.onnx': craftOnnx({ irVersion: 14 }) }, 'UNSUPPORTED_IR model.onnx'],
    ['a new operator set', { 'm/model.onnx': craftOnnx({ opset: 27 }) }, 'UNSUPPORTED_OPSET model.onnx'],
    ['no protobuf', { 'm/model.onnx': 'not a model' }, 'FILE_MALFORMED model.onnx'],
    ['missing external data', { 'm/model.onnx': craftOnnx({ external: { location: 'w.bin' } }) }, 'EXTERNAL_DATA_MISSING w.bin'],
    [
      'short external data',
      { 'm/model.onnx': craftOnnx({ external: { location: 'w.bin', offset: '8', length: '16' } }), 'm/w.bin': new Uint8Array(16) },
      'EXTERNAL_DATA_TRUNCATED w.bin',
    ],
    ['data in the parent folder', { 'm/model.onnx': craftOnnx({ external: { location: '../w.bin' } }) }, 'PATH_ESCAPE model.onnx'],
    ['an absolute path', { 'm/model.onnx': craftOnnx({ external: { location: '/etc/passwd' } }) }, 'PATH_ESCAPE model.onnx'],
    ['an address in memory', { 'm/model.onnx': craftOnnx({ external: { location: '*/_ORT_MEM_ADDR_/*' } }) }, 'PATH_ESCAPE model.onnx'],
    ['the model as its own data', { 'm/model.onnx': craftOnnx({ external: { location: 'model.onnx' } }) }, 'PATH_ESCAPE model.onnx'],
    [
      'the tokenizer as data',
      { 'm/model.onnx': craftOnnx({ external: { location: 'tokenizer.json' } }), 'm/tokenizer.json': '{}' },
      'PATH_ESCAPE tokenizer.json',
    ],
    ['a folder in place of a file', { 'm/model.onnx': craftOnnx(), 'm/config.json/x': '' }, 'NOT_A_FILE config.json'],
  ])('refuses %s', async (_name, files, expected) => {
    expect(await refusal(await makeStore(files))).toBe(expected);
  });

  test('refuses a folder and a file of one id', async () => {
    const { models, refused } = await readStore(await makeStore({ 'm.onnx': craftOnnx(), 'm/model.onnx': craftOnnx() }));
    expect(models).toEqual([]);
    expect(refused.map((error) => error.code)).toEqual(['MODEL_AMBIGUOUS', 'MODEL_AMBIGUOUS']);
  });

  test('refuses symbolic links wherever they stand', async () => {
    const linkedFolder = await makeStore();
    await symlink(SHIPPED_MODELS, join(linkedFolder, 'm'));
    expect(await refusal(linkedFolder)).toBe('SYMLINK m');

    const linkedFile = await makeStore({ 'm/model.onnx': craftOnnx(), 'outside.json': '{}' });
    await symlink('../outside.json', join(linkedFile, 'm', 'config.json'));
    expect(await refusal(linkedFile)).toBe('SYMLINK config.json');

    const linkedData = await makeStore({
      'm/model.onnx': craftOnnx({ external: { location: 'd/w.bin' } }),
      '.data/w.bin': new Uint8Array(16),
    });
    await symlink('../.data', join(linkedData, 'm', 'd'));
    expect(await refusal(linkedData)).toBe('SYMLINK d/w.bin');

    const linkedWeights = await makeStore({ 'm/x.txt': '', '.elsewhere/model.onnx': craftOnnx() });
    await symlink('../.elsewhere', join(linkedWeights, 'm', 'onnx'));
    expect(await refusal(linkedWeights)).toBe('SYMLINK onnx');
  });

  test('keeps good models beside refused ones', async () => {
    const root = await copyShipped();
    await writeFile(join(root, 'broken.onnx'), 'x');
    const { models, refused } = await readStore(root);
    expect(models.map((model) => model.id)).toEqual(['glove-sif-100d', 'tinygpt-1m']);
    expect(refused.map((error) => error.model)).toEqual(['broken']);
  });

  test('a store that is not there is refused', async () => {
    const root = await makeStore({ file: '' });
    for (const path of ['missing', 'file']) {
      await expect(readStore(join(root, path))).rejects.toMatchObject({ code: 'STORE_UNREADABLE' });
    }
    await expect(readStore(join(root, 'missing'))).rejects.toBeInstanceOf(ModelError);
  });
});

describe('reading a file of a model', () => {
  test('gives its bytes, within the limit', async () => {
    const root = await makeStore({ 'a/b.bin': Uint8Array.of(1, 2, 3) });
    expect([...(await readPlain(root, 'a/b.bin', 3))]).toEqual([1, 2, 3]);
    expect(new Uint8Array(await readFile(join(root, 'a/b.bin')))).toEqual(await readPlain(root, 'a/b.bin', 10));
    await expect(readPlain(root, 'a/b.bin', 2)).rejects.toMatchObject({ code: 'FILE_TOO_LARGE' });
    await expect(readPlain(root, 'a/../a/b.bin', 3)).rejects.toMatchObject({ code: 'PATH_ESCAPE' });
    await expect(readPlain(root, 'a/c.bin', 3)).rejects.toMatchObject({ code: 'FILE_MISSING' });
  });
});
