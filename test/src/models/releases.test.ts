import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { manifestFile } from '../../../src/models/manifest.ts';
import { readCatalogue, resolveReference } from '../../../src/models/release/catalogue.ts';
import { filesOf, layoutOf } from '../../../src/models/release/layout.ts';
import { withLock } from '../../../src/models/release/lock.ts';
import { makeRecord } from '../../../src/models/release/record.ts';
import { changeStore } from '../../../src/models/release/releaseStore.ts';
import { checkFiles } from '../../../src/models/release/verifyRelease.ts';
import { requireRecorded } from '../../../src/models/recorded.ts';
import { readReleases } from '../../../src/models/releases.ts';
import { discoverFolder, readRelease, readStore } from '../../../src/models/store.ts';
import { craftOnnx } from '../../support/onnx.ts';
import { add, hex, modelFiles, modelFolder, namesBelow, temporaryFolder } from '../../support/releases.ts';
import { makeStore } from '../../support/store.ts';

const noBytes = (): void => undefined;
const code = (name: string): unknown => expect.objectContaining({ code: name });

async function remove(directory: string, release: string): Promise<void> {
  await changeStore(directory, (store) => store.remove(release));
}

/** A store with one release, and where its files lie. */
async function oneRelease(): Promise<{ readonly directory: string; readonly files: string }> {
  const directory = await temporaryFolder();
  await add({ directory, source: await modelFolder() });
  return { directory, files: filesOf(layoutOf(directory), 'tiny@1') };
}

/** As root writes, who does not ask for permission. */
async function overwrite(path: string, content: string | Uint8Array): Promise<void> {
  await chmod(path, 0o644);
  await writeFile(path, content);
}

describe('a release', () => {
  test('is a folder, content-addressed, with a record of every file', async () => {
    const directory = await temporaryFolder();
    const { record, isNew, aliases } = await add({ directory, source: await modelFolder() });
    expect([isNew, aliases]).toEqual([true, ['tiny']]);
    expect(record).toMatchObject({ name: 'tiny', version: '1', sequence: 1, added: '2026-11-21T12:00:00.000Z' });
    expect(record.files.map(({ path }) => path)).toEqual(['config.json', 'model.onnx']);
    for (const { path, sha256, size } of record.files) {
      const bytes = await readFile(join(filesOf(layoutOf(directory), 'tiny@1'), path));
      expect([hex(bytes), bytes.length]).toEqual([sha256, size]);
      expect(await readFile(join(layoutOf(directory).blobs, sha256))).toEqual(bytes);
    }
    expect(await namesBelow(layoutOf(directory).incoming)).toEqual([]);
    expect((await readCatalogue(directory)).records.get('tiny@1')).toEqual(record);
  });

  test('never changes: the same is taken again, other content is refused', async () => {
    const { directory } = await oneRelease();
    const again = await add({ directory, source: await modelFolder() });
    expect(again.isNew).toBe(false);
    const other = add({ directory, source: await modelFolder({ 'config.json': '{}' }) });
    await expect(other).rejects.toEqual(code('RELEASE_EXISTS'));
    expect((await readStore(directory)).models).toHaveLength(1);
  });

  test('shares contents with others, and gives them back with the last', async () => {
    const { directory } = await oneRelease();
    await add({ directory, source: await modelFolder({ 'config.json': '{}' }), release: 'tiny@2' });
    const { blobs } = layoutOf(directory);
    expect(await namesBelow(blobs)).toHaveLength(3);
    await remove(directory, 'tiny@1');
    expect(await namesBelow(blobs)).toHaveLength(2);
    await remove(directory, 'tiny@2');
    expect(await namesBelow(blobs)).toEqual([]);
  });

  test.each(['tiny', 'tiny@', '@1', 'tiny@1@2', '../x@1', 'tiny@../1', 'tiny@latest', 'ti ny@1', 'tiny@é'])(
    'is not called %s',
    async (release) => {
      const adding = add({ directory: await temporaryFolder(), source: await modelFolder(), release });
      await expect(adding).rejects.toEqual(code('RELEASE_NAME_INVALID'));
    },
  );

  test('is a model that can be served, or nothing at all', async () => {
    const directory = await temporaryFolder();
    await expect(add({ directory, source: await makeStore({ 'config.json': '{}' }) })).rejects.toEqual(
      code('WEIGHTS_MISSING'),
    );
    const adapter = await modelFolder({ 'adapter_model.bin': 'x' });
    await expect(add({ directory, source: adapter })).rejects.toEqual(code('ADAPTER_UNSUPPORTED'));
    expect((await readCatalogue(directory)).records.size).toBe(0);
    await changeStore(directory, () => Promise.resolve());
    expect(await namesBelow(layoutOf(directory).home)).toEqual([]);
  });
});

describe('a folder as a source', () => {
  test('takes what is selected, and leaves out what git keeps', async () => {
    const source = await modelFolder({ '.gitattributes': 'x', '.git/HEAD': 'x', 'README.md': 'x', 'onnx/notes.txt': 'x' });
    const { record } = await add({
      directory: await temporaryFolder(),
      source,
      include: ['*.onnx', 'onnx/**', '*.md'],
      exclude: ['README.*'],
    });
    expect(record.files.map(({ path }) => path)).toEqual(['model.onnx', 'onnx/notes.txt']);
  });

  test('with a symbolic link is refused', async () => {
    const source = await modelFolder();
    await symlink('/etc/hostname', join(source, 'tokenizer.json'));
    await expect(add({ directory: await temporaryFolder(), source })).rejects.toEqual(code('ENTRY_REFUSED'));
  });

  test.each([
    ['a space', { 'a b.txt': 'x' }, 'PATH_REFUSED'],
    ['names that differ in case alone', { 'Notes.txt': 'a', 'notes.txt': 'b' }, 'PATH_TWICE'],
    ['folders that differ in case alone', { 'Docs/a': 'a', 'docs/b': 'b' }, 'PATH_TWICE'],
  ])('with %s is refused', async (_, files, wanted) => {
    const adding = add({ directory: await temporaryFolder(), source: await modelFolder(files) });
    await expect(adding).rejects.toEqual(code(wanted));
  });

  test('that is not there is unreadable', async () => {
    const adding = add({ directory: await temporaryFolder(), source: '/nonexistent/model' });
    await expect(adding).rejects.toEqual(code('SOURCE_UNREADABLE'));
  });
});

describe('the quota', () => {
  test('is asked before a byte is copied, and shared contents count once', async () => {
    const directory = await temporaryFolder();
    const source = await modelFolder();
    const size = craftOnnx().length + modelFiles()['config.json']!.length;
    const tooSmall = add({ directory, source, quotaBytes: size - 1 });
    await expect(tooSmall).rejects.toEqual(code('QUOTA_EXCEEDED'));
    await add({ directory, source, quotaBytes: size });
    const second = add({ directory, source, release: 'tiny@2', quotaBytes: size });
    // A folder says no digests, so room for all of it is wanted first.
    await expect(second).rejects.toEqual(code('QUOTA_EXCEEDED'));
    await add({ directory, source, release: 'tiny@2', quotaBytes: 2 * size });
    await expect(changeStore(directory, (store) => store.usedBytes())).resolves.toBe(size);
  });
});

describe('aliases', () => {
  test('name a release from the next load on; latest follows', async () => {
    const { directory } = await oneRelease();
    await add({ directory, source: await modelFolder({ 'config.json': '{}' }), release: 'tiny@2' });
    const served = async (): Promise<unknown> =>
      (await readStore(directory)).models.map(({ id, release }) => [id, release]);
    expect(await served()).toEqual([['tiny', 'tiny@1']]);
    await changeStore(directory, (store) => store.setAlias('tiny', 'tiny@latest'));
    expect(await served()).toEqual([['tiny', 'tiny@2']]);
    await add({ directory, source: await modelFolder({ 'config.json': '[]' }), release: 'tiny@0', aliases: ['old'] });
    expect(await served()).toEqual([
      ['old', 'tiny@0'],
      ['tiny', 'tiny@0'],
    ]);
    expect(resolveReference(await readCatalogue(directory), 'tiny@latest').version).toBe('0');
  });

  test('name what is there, and take no name of a folder', async () => {
    const { directory } = await oneRelease();
    await mkdir(join(directory, 'plain'));
    await changeStore(directory, async (store) => {
      await expect(store.setAlias('plain', 'tiny@1')).rejects.toEqual(code('ALIAS_INVALID'));
      await expect(store.setAlias('../x', 'tiny@1')).rejects.toEqual(code('ALIAS_INVALID'));
      await expect(store.setAlias('new', 'tiny@9')).rejects.toEqual(code('RELEASE_UNKNOWN'));
      await expect(store.setAlias('new', 'tiny')).rejects.toEqual(code('RELEASE_NAME_INVALID'));
    });
  });

  test('that meet a folder later refuse the name', async () => {
    const { directory } = await oneRelease();
    await mkdir(join(directory, 'tiny'));
    await writeFile(join(directory, 'tiny', 'model.onnx'), craftOnnx());
    const { models, refused } = await readStore(directory);
    expect([models, refused.map((error) => error.code)]).toEqual([[], ['MODEL_AMBIGUOUS']]);
  });

  test('leave a folder of the same name alone', async () => {
    const directory = await makeStore({ 'tiny/model.onnx': craftOnnx() });
    const { aliases } = await add({ directory, source: await modelFolder() });
    expect(aliases).toEqual([]);
    const { models } = await readStore(directory);
    expect(models.map(({ id, release }) => [id, release])).toEqual([['tiny', undefined]]);
    expect((await readRelease(directory, 'tiny@1')).release).toBe('tiny@1');
  });
});

describe('at load', () => {
  test('the files have the digests of the record', async () => {
    const { directory, files } = await oneRelease();
    const [model] = (await readStore(directory)).models;
    expect(model).toMatchObject({ id: 'tiny', root: files, release: 'tiny@1' });
    const weights = model!.files.find(({ role }) => role === 'weights')!;
    requireRecorded('tiny', weights, manifestFile('model.onnx', craftOnnx()));
    const changed = craftOnnx();
    changed[changed.length - 1]! ^= 1;
    expect(() => {
      requireRecorded('tiny', weights, manifestFile('model.onnx', changed));
    }).toThrow(expect.objectContaining({ code: 'FILE_CHANGED', file: 'model.onnx' }));
  });

  test.each([
    ['a file that became longer', (files: string) => overwrite(join(files, 'config.json'), '{ "hidden_size":4}'), 'FILE_CHANGED'],
    ['a file that is gone', (files: string) => rm(join(files, 'config.json')), 'FILE_MISSING'],
    ['a file more', (files: string) => writeFile(join(files, 'tokenizer.json'), '{}'), 'FILE_CHANGED'],
    [
      'a link in the place of a file',
      async (files: string) => {
        await rm(join(files, 'config.json'));
        await symlink('/etc/hostname', join(files, 'config.json'));
      },
      'SYMLINK',
    ],
    ['a record that cannot be read', (files: string) => overwrite(join(files, '..', 'release.json'), '{}'), 'RELEASE_UNREADABLE'],
  ])('%s refuses the release, and no other model', async (_, change, wanted) => {
    const { directory, files } = await oneRelease();
    await writeFile(join(directory, 'plain.onnx'), craftOnnx());
    await change(files);
    const { models, refused } = await readStore(directory);
    expect(models.map(({ id }) => id)).toEqual(['plain']);
    expect(refused.map((error) => [error.model, error.code])).toEqual([['tiny', wanted]]);
  });

  test('a file that goes between two looks is missed', async () => {
    const { directory, files } = await oneRelease();
    const { models, refused } = await readReleases(directory, [], async (id, root, paths) => {
      await rm(join(files, 'config.json'));
      return discoverFolder(id, root, paths);
    });
    expect([models, refused.map((error) => [error.code, error.file])]).toEqual([[], [['FILE_MISSING', 'config.json']]]);
  });

  test('weights in the folder onnx, and in parts, are those of the record', async () => {
    const directory = await temporaryFolder();
    const source = await makeStore({
      'onnx/model.onnx': craftOnnx({ external: { location: 'parts/w.bin' } }),
      'onnx/parts/w.bin': new Uint8Array(16),
      'docs/a.txt': 'a',
    });
    const { record } = await add({ directory, source });
    const [model] = (await readStore(directory)).models;
    const digests = new Map(record.files.map(({ path, sha256 }) => [path, sha256]));
    expect(model!.files.map(({ path }) => path)).toEqual(['onnx/model.onnx', 'onnx/parts/w.bin']);
    expect(model!.files.every(({ path, sha256 }) => sha256 === digests.get(path))).toBe(true);
  });

  test('a record with another digest of a file is no record', async () => {
    const { directory, files } = await oneRelease();
    const path = join(files, '..', 'release.json');
    const text = (await readFile(path, 'utf8')).replace(hex(craftOnnx()), hex('other'));
    await overwrite(path, text);
    expect((await readStore(directory)).refused[0]).toMatchObject({ code: 'RELEASE_UNREADABLE' });
  });
});

describe('verification', () => {
  test('reads every byte and finds each that changed', async () => {
    const { directory, files } = await oneRelease();
    const record = resolveReference(await readCatalogue(directory), 'tiny');
    expect(await checkFiles(layoutOf(directory), record, noBytes)).toEqual([]);
    const blob = join(layoutOf(directory).blobs, hex(craftOnnx()));
    const bytes = craftOnnx();
    bytes[40]! ^= 1;
    await overwrite(blob, bytes);
    await rm(join(files, 'config.json'));
    await writeFile(join(files, 'stranger'), '');
    const problems = await checkFiles(layoutOf(directory), record, noBytes);
    expect(problems.map((problem) => [problem.path, problem.code])).toEqual([
      ['config.json', 'MISSING'],
      ['model.onnx', 'CHANGED'],
      ['stranger', 'UNEXPECTED'],
    ]);
  });

  test('a changed content is not handed on to the next release', async () => {
    const { directory } = await oneRelease();
    const blob = join(layoutOf(directory).blobs, hex(craftOnnx()));
    await overwrite(blob, 'changed');
    await add({ directory, source: await modelFolder({ 'config.json': '{}' }), release: 'tiny@2' });
    const catalogue = await readCatalogue(directory);
    const check = (name: string) => checkFiles(layoutOf(directory), resolveReference(catalogue, name), noBytes);
    expect(await check('tiny@1')).toHaveLength(1);
    expect(await check('tiny@2')).toEqual([]);
  });
});

describe('a record that could not be read again', () => {
  const facts = {
    name: 'tiny',
    version: '1',
    added: '2026-11-21T12:00:00.000Z',
    sequence: 1,
    source: { kind: 'web', from: 'https://h.example/x' },
    files: [{ path: 'model.onnx', size: 1, sha256: hex('x') }],
  } as const;
  const long = (i: number): string => `${`${'d'.repeat(255)}/`.repeat(7)}${'f'.repeat(250)}${i}`;
  const many = Array.from({ length: 4096 }, (_, i) => ({ path: long(i), size: 2 ** 40, sha256: hex('x') }));

  test.each([
    ['of a source with a long name', makeRecord({ ...facts, source: { ...facts.source, from: 'x'.repeat(5000) }, files: [...facts.files] })],
    ['of no file', makeRecord({ ...facts, files: [] })],
    ['of too many bytes', makeRecord({ ...facts, files: many })],
  ])('%s makes no release', async (_, record) => {
    const directory = await temporaryFolder();
    await changeStore(directory, async (store) => {
      const committing = store.commit({ record, files: [], signature: undefined });
      await expect(committing).rejects.toEqual(code('RECORD_MALFORMED'));
    });
    const { records, broken } = await readCatalogue(directory);
    expect([records.size, broken.size]).toEqual([0, 0]);
    expect(await namesBelow(layoutOf(directory).home)).toEqual([]);
  });
});

describe('one writer at a time', () => {
  test('a second one is told so', async () => {
    const directory = await temporaryFolder();
    await changeStore(directory, async () => {
      await expect(changeStore(directory, () => Promise.resolve())).rejects.toEqual(code('STORE_LOCKED'));
    });
    await changeStore(directory, () => Promise.resolve());
  });

  test('of many at once each is done or told so, and the store is whole', async () => {
    const directory = await temporaryFolder();
    const source = await modelFolder();
    const versions = [1, 2, 3, 4];
    const results = await Promise.allSettled(
      versions.map((version) => add({ directory, source, release: `tiny@${version}` })),
    );
    const done = results.filter(({ status }) => status === 'fulfilled').length;
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toEqual(code('STORE_LOCKED'));
    }
    const { records, broken } = await readCatalogue(directory);
    expect([records.size, broken.size]).toEqual([done, 0]);
  });

  test('one that cannot be asked counts as there', async () => {
    const directory = await temporaryFolder();
    const { locks } = layoutOf(directory);
    await mkdir(locks, { recursive: true });
    // A link to itself: asking fails with ELOOP, which says nothing of anybody.
    await symlink('other', join(locks, 'other'));
    await expect(changeStore(directory, () => Promise.resolve())).rejects.toEqual(code('STORE_LOCKED'));
    expect(await readdir(locks)).toContain('other');
    await rm(join(locks, 'other'));
    await changeStore(directory, () => Promise.resolve());
  });

  test('never two are inside', async () => {
    const folder = join(await temporaryFolder(), 'locks');
    let inside = 0;
    const enter = () =>
      withLock(folder, async () => {
        inside += 1;
        expect(inside).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, 1));
        inside -= 1;
      });
    await Promise.allSettled(Array.from({ length: 20 }, enter));
    expect(await namesBelow(folder)).toEqual([]);
  });

  test('what a killed writer leaves is swept away by the next', async () => {
    const { directory } = await oneRelease();
    const { locks, incoming, blobs } = layoutOf(directory);
    const script = `require('node:net').createServer().listen(process.argv[1], () => process.stdout.write('x'))`;
    const child = spawn(process.execPath, ['-e', script, join(locks, 'dead')], { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(child.stdout, 'data');
    await expect(changeStore(directory, () => Promise.resolve())).rejects.toEqual(code('STORE_LOCKED'));
    child.kill('SIGKILL');
    await once(child, 'exit');
    await new Promise((resolve) => connect(join(locks, 'dead')).once('error', resolve));
    await mkdir(join(incoming, 'half'));
    await writeFile(join(incoming, 'half', '0.part'), 'x');
    await writeFile(join(blobs, hex('orphan')), 'orphan');
    await changeStore(directory, () => Promise.resolve());
    expect(await namesBelow(incoming)).toEqual([]);
    expect(await namesBelow(locks)).toEqual([]);
    expect(await namesBelow(blobs)).toHaveLength(2);
  });

  test('with a record that cannot be read, no content is removed', async () => {
    const { directory, files } = await oneRelease();
    await overwrite(join(files, '..', 'release.json'), 'broken');
    await changeStore(directory, () => Promise.resolve());
    expect(await namesBelow(layoutOf(directory).blobs)).toHaveLength(2);
  });
});
