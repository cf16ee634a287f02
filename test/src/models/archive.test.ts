import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HostingError } from '../../../src/models/hostingErrors.ts';
import { readCatalogue } from '../../../src/models/release/catalogue.ts';
import { layoutOf } from '../../../src/models/release/layout.ts';
import { ModelError } from '../../../src/models/errors.ts';
import { craftOnnx } from '../../support/onnx.ts';
import {
  add,
  type EntryType,
  gzipped,
  hex,
  modelFiles,
  namesBelow,
  tarOf,
  type TarEntry,
  tarOfFiles,
  temporaryFolder,
} from '../../support/releases.ts';
import { propertyRuns } from '../../support/runs.ts';

const code = (name: string): unknown => expect.objectContaining({ code: name });

async function archiveFile(bytes: Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(), 'model.tar');
  await writeFile(path, bytes);
  return path;
}

const MODEL: readonly TarEntry[] = [{ path: 'model.onnx', content: craftOnnx() }];

/** Adds an archive that is refused, and looks that nothing of it stays. */
async function refusal(bytes: Uint8Array, quotaBytes?: number): Promise<unknown> {
  const directory = await temporaryFolder();
  const adding = add({ directory, source: await archiveFile(bytes), quotaBytes });
  const error: unknown = await adding.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect((await readCatalogue(directory)).records.size).toBe(0);
  expect(await namesBelow(layoutOf(directory).incoming)).toEqual([]);
  return error;
}

describe('a tar archive', () => {
  test.each([
    ['plain', (bytes: Buffer) => bytes],
    ['compressed by gzip', gzipped],
  ])('%s becomes a release', async (_, pack) => {
    const archive = pack(tarOfFiles(modelFiles({ 'onnx/notes.txt': 'n'.repeat(1000) })));
    const { record } = await add({ directory: await temporaryFolder(), source: await archiveFile(archive) });
    expect(record.files.map(({ path }) => path)).toEqual(['config.json', 'model.onnx', 'onnx/notes.txt']);
    expect(record.source).toEqual({ kind: 'archive', from: 'model.tar', resolved: `sha256:${hex(archive)}` });
  });

  test('of a folder loses the folder around its files', async () => {
    const entries = [{ path: './tiny/', type: 'Directory' as const }, { path: './tiny/model.onnx', content: craftOnnx() }];
    const { record } = await add({ directory: await temporaryFolder(), source: await archiveFile(tarOf(entries)) });
    expect(record.files.map(({ path }) => path)).toEqual(['model.onnx']);
    const nested = await archiveFile(tarOfFiles({ 'onnx/model.onnx': craftOnnx() }));
    const other = await add({ directory: await temporaryFolder(), source: nested });
    expect(other.record.files.map(({ path }) => path)).toEqual(['onnx/model.onnx']);
  });

  test('is pinned by its digest', async () => {
    const archive = tarOfFiles(modelFiles());
    const source = await archiveFile(archive);
    await add({ directory: await temporaryFolder(), source, sha256: hex(archive) });
    const wrong = add({ directory: await temporaryFolder(), source, sha256: hex('other') });
    await expect(wrong).rejects.toEqual(code('DIGEST_MISMATCH'));
  });

  test.each([
    ['a path that leads out', '../model.onnx'],
    ['a path that leads out from within', 'a/../../model.onnx'],
    ['an absolute path', '/model.onnx'],
    ['a path with a backslash', 'a\\..\\model.onnx'],
    ['a path with a control character', 'a\u001b[2Jmodel'],
    ['a path that is too deep', 'a/b/c/d/e/f/g/h/i'],
    ['an empty part', 'a//b'],
  ])('with %s is refused', async (_, path) => {
    const error = await refusal(tarOf([...MODEL, { path, content: 'x' }]));
    expect(error).toEqual(code('PATH_REFUSED'));
  });

  test.each<EntryType>(['SymbolicLink', 'Link', 'CharacterDevice', 'BlockDevice', 'FIFO'])(
    'with an entry of the type %s is refused',
    async (type) => {
      const linkpath = type.endsWith('Link') ? { linkpath: '/etc/passwd' } : {};
      expect(await refusal(tarOf([...MODEL, { path: 'x', type, ...linkpath }]))).toEqual(code('ENTRY_REFUSED'));
    },
  );

  test('with a link that a later entry would write through is refused', async () => {
    const through: readonly TarEntry[] = [
      { path: 'onnx', type: 'SymbolicLink', linkpath: '/tmp' },
      { path: 'onnx/model.onnx', content: craftOnnx() },
    ];
    expect(await refusal(tarOf(through))).toEqual(code('ENTRY_REFUSED'));
  });

  test.each([
    ['the same path twice', ['model.onnx']],
    ['paths that differ in case alone', ['Model.ONNX']],
    ['a file that is a folder elsewhere', ['model.onnx/x']],
    ['a folder that is a file elsewhere', ['a/b', 'a']],
  ])('with %s is refused', async (_, paths) => {
    const entries = paths.map((path) => ({ path, content: 'x' }));
    expect(await refusal(tarOf([...MODEL, ...entries]))).toEqual(code('PATH_TWICE'));
  });

  test.each([
    ['in the middle of a file', (bytes: Buffer) => bytes.subarray(0, 700)],
    ['between two files', (bytes: Buffer) => bytes.subarray(0, bytes.length - 1024)],
    ['within gzip', (bytes: Buffer) => gzipped(bytes).subarray(0, 100)],
  ])('cut %s is refused', async (_, cut) => {
    expect(await refusal(cut(tarOfFiles(modelFiles())))).toEqual(code('SOURCE_TRUNCATED'));
  });

  test.each([
    ['no archive', Buffer.from('hello')],
    ['nothing', Buffer.alloc(0)],
    ['text', Buffer.alloc(4096, 'text ')],
    ['gzip of no archive', gzipped(Buffer.alloc(4096, 'text '))],
  ])('that is %s is refused', async (_, bytes) => {
    expect(await refusal(bytes)).toBeInstanceOf(HostingError);
  });

  test('compressed twice is refused', async () => {
    expect(await refusal(gzipped(gzipped(tarOfFiles(modelFiles()))))).toEqual(code('SOURCE_MALFORMED'));
    expect(await refusal(Buffer.from('28b52ffd00000000', 'hex'))).toEqual(code('SOURCE_MALFORMED'));
  });

  test('with anything after its end mark is read up to there', async () => {
    const archive = Buffer.concat([tarOfFiles(modelFiles()), tarOfFiles({ 'late.txt': 'x' }), Buffer.alloc(0x10_0000)]);
    const { record } = await add({ directory: await temporaryFolder(), source: await archiveFile(archive) });
    expect(record.files.map(({ path }) => path)).toEqual(['config.json', 'model.onnx']);
  });

  test('that unpacks to more than the quota is refused while it is read', async () => {
    const bomb = gzipped(tarOf([...MODEL, { path: 'zeros.bin', content: Buffer.alloc(0x200_0000) }]));
    expect(bomb.length).toBeLessThan(0x2_0000);
    expect(await refusal(bomb, 0x10_0000)).toEqual(code('QUOTA_EXCEEDED'));
  });

  test('that states a size beyond the quota is refused before it is read', async () => {
    const entries = [...MODEL, { path: 'large.bin', content: 'x', size: 2 ** 40 }];
    expect(await refusal(tarOf(entries))).toEqual(code('QUOTA_EXCEEDED'));
  });

  test('with files left out that are too large for the quota is refused all the same', async () => {
    const directory = await temporaryFolder();
    const bomb = gzipped(tarOf([...MODEL, { path: 'zeros.bin', content: Buffer.alloc(0x600_0000) }]));
    const adding = add({ directory, source: await archiveFile(bomb), exclude: ['*.bin'], quotaBytes: 0x10_0000 });
    await expect(adding).rejects.toEqual(code('QUOTA_EXCEEDED'));
  }, 60_000);

  test('with too many entries is refused', async () => {
    const entries = Array.from({ length: 4097 }, (_, i) => ({ path: `f${i}` }));
    expect(await refusal(tarOf(entries))).toEqual(code('TOO_MANY_FILES'));
    const folders = Array.from({ length: 4 * 4096 + 1 }, (_, i) => ({ path: `f${i}/`, type: 'Directory' as const }));
    expect(await refusal(tarOf(folders))).toEqual(code('TOO_MANY_FILES'));
  }, 60_000);

  test('changed anywhere, is refused in words or has the digest of what was read', async () => {
    const archive = gzipped(tarOfFiles(modelFiles()));
    const plain = gunzipSync(archive);
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.nat(), fc.integer({ min: 1, max: 255 }), async (zip, at, change) => {
        const bytes = Buffer.from(zip ? archive : plain);
        bytes[at % bytes.length]! ^= change;
        const directory = await temporaryFolder();
        try {
          const { record } = await add({ directory, source: await archiveFile(bytes) });
          for (const { sha256 } of record.files) expect(sha256).toMatch(/^[0-9a-f]{64}$/);
        } catch (error) {
          if (!(error instanceof HostingError || error instanceof ModelError)) throw error;
        }
      }),
      propertyRuns(60),
    );
  }, 60_000);
});
