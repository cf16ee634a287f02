import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, jest, test } from '@jest/globals';
import { parseHeader, SEALED_FILE } from '../../../src/models/sealed/header.ts';
import { readSealed } from '../../../src/models/sealed/readSealed.ts';
import { parseKeyFile, unwrapDataKey } from '../../../src/models/sealed/wrappedKey.ts';
import { discoverFolder } from '../../../src/models/store.ts';
import { craftOnnx } from '../../support/onnx.ts';
import { makeStore } from '../../support/store.ts';
import { vouchsafe } from './program.ts';

/** Each of a dozen processes starts by itself. */
jest.setTimeout(60_000);

/** A model and the paths that the command takes. */
async function scene() {
  const folder = await makeStore({ 'tiny/model.onnx': craftOnnx(), 'tiny/config.json': '{"hidden_size":4}' });
  const [source, out, key] = ['tiny', 'sealed', 'k1.key'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const seal = (...args: readonly string[]) =>
    vouchsafe(['models', 'seal', source, out, '--key-name', 'k1', ...args]);
  return { folder, source, out, key, seal };
}

describe('vouchsafe models seal', () => {
  test('makes a key and a folder that this key opens', async () => {
    const { source, out, key, seal } = await scene();
    const { code, stdout, stderr } = await seal('--key-file', key, '--new-key', '--json');
    expect([code, stderr]).toEqual([0, '']);
    const header = parseHeader(await readFile(join(out, SEALED_FILE)));
    expect(JSON.parse(stdout)).toMatchObject({
      sealed: out,
      digest: Buffer.from(header.digest).toString('hex'),
      key: { holder: 'vouchsafe', name: 'k1' },
      files: [{ path: 'config.json' }, { path: 'model.onnx' }],
    });
    expect((await stat(key)).mode & 0o777).toBe(0o600);
    const wrapping = parseKeyFile(await readFile(key));
    const dataKey = unwrapDataKey(wrapping, 'k1', header.key.wrapped);
    const model = await discoverFolder('sealed', out);
    for (const file of model.files) {
      const opened = await readSealed(out, file, model.sealed!, dataKey);
      expect(Buffer.from(opened).equals(await readFile(join(source, file.path)))).toBe(true);
    }
  });

  test('says what it did to people', async () => {
    const { key, seal } = await scene();
    await writeFile(key, randomBytes(32));
    const { code, stdout } = await seal('--key-file', key, '--holder', 'azure');
    expect(code).toBe(0);
    expect(stdout).toContain('2 files');
    expect(stdout).toContain('azure');
    expect(stdout).not.toContain((await readFile(key)).toString('hex'));
  });

  test('takes a data key that its holder wrapped', async () => {
    const { folder, out, seal } = await scene();
    const [plain, wrapped] = [join(folder, 'plain'), join(folder, 'wrapped')];
    const dataKey = randomBytes(32);
    await writeFile(plain, dataKey);
    await writeFile(wrapped, 'as KMS wrapped it');
    const { code } = await seal('--holder', 'aws-kms', '--data-key-file', plain, '--wrapped-file', wrapped);
    expect(code).toBe(0);
    const model = await discoverFolder('sealed', out);
    expect(Buffer.from(model.sealed!.key.wrapped).toString()).toBe('as KMS wrapped it');
    const [file] = model.files;
    await expect(readSealed(out, file!, model.sealed!, dataKey)).resolves.toHaveLength(file!.size);
  });

  test.each<[string, readonly string[]]>([
    ['no key', []],
    ['both kinds of keys', ['--key-file', 'k', '--data-key-file', 'k', '--wrapped-file', 'w']],
    ['a data key without its wrapped form', ['--data-key-file', 'k']],
    ['a wrapping key for KMS', ['--holder', 'aws-kms', '--key-file', 'k']],
    ['an unknown holder', ['--holder', 'anybody', '--key-file', 'k']],
  ])('with %s is misuse', async (_name, args) => {
    const { folder, seal } = await scene();
    expect((await seal(...args)).code).toBe(64);
    expect(await readdir(folder)).toEqual(['tiny']);
  });

  test('never writes over a folder or a key', async () => {
    const { key, out, seal } = await scene();
    expect((await seal('--key-file', key, '--new-key')).code).toBe(0);
    const before = await readFile(key, 'utf8');
    expect((await seal('--key-file', key)).code).toBe(64);
    const again = await vouchsafe(['models', 'seal', `${out}/..//tiny`, `${out}2`, '--key-name', 'k1', '--key-file', key, '--new-key']); // prettier-ignore
    expect(again.code).toBe(4);
    expect(await readFile(key, 'utf8')).toBe(before);
  });

  test('refuses a folder without a model, and a key that is none', async () => {
    const { folder, key, out, seal } = await scene();
    await writeFile(key, 'not a key');
    expect((await seal('--key-file', key)).code).toBe(64);
    await writeFile(key, randomBytes(32));
    const empty = await vouchsafe(['models', 'seal', folder, out, '--key-name', 'k1', '--key-file', key]);
    expect(empty.code).toBe(2);
    expect((await readdir(folder)).sort()).toEqual(['k1.key', 'tiny']);
  });
});
