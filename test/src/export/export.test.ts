import { createWriteStream } from 'node:fs';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import { exportArchive } from '../../../src/archive/export/exportArchive.ts';
import { importArchive } from '../../../src/archive/export/importArchive.ts';
import { createFolderSink, createTarSink } from '../../../src/archive/export/sinks.ts';
import { openDataFolder } from '../../../src/export/dataFolder.ts';
import { ExportError } from '../../../src/export/errors.ts';
import { encodeManifest, parseManifest } from '../../../src/export/manifest.ts';
import { openArchive, openExportAt } from '../../../src/export/open.ts';
import { isInstancePath, isMember } from '../../../src/export/paths.ts';
import { mintLog } from '../../support/mintedLog.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { makeFolder } from '../../support/service.ts';

const EVERYTHING = { from: undefined, to: undefined };

async function toTar(data: string): Promise<string> {
  const path = join(await makeFolder(), 'export.tar');
  await exportArchive(openDataFolder(data), EVERYTHING, createTarSink(createWriteStream(path)));
  return path;
}

async function toFolder(data: string, folder?: string): Promise<string> {
  const out = folder ?? (await makeFolder());
  await exportArchive(openDataFolder(data), EVERYTHING, await createFolderSink(out));
  return out;
}

async function minted(): Promise<string> {
  const data = await makeFolder();
  await mintLog(data, { epochs: [300, 10] });
  return data;
}

/** Names and bytes below a folder. */
async function contentOf(folder: string): Promise<ReadonlyMap<string, string>> {
  const listed = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = listed.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const read = files.map(
    async (path) => [path.slice(folder.length), (await readFile(path)).toString('hex')] as const,
  );
  return new Map((await Promise.all(read)).sort());
}

describe('an export', () => {
  test('of the same source is the same bytes, as a file and as a folder', async () => {
    const data = await minted();
    const [first, second] = [await readFile(await toTar(data)), await readFile(await toTar(data))];
    expect(first.equals(second)).toBe(true);
    const [folder, again] = [await toFolder(data), await toFolder(data)];
    expect(await contentOf(folder)).toEqual(await contentOf(again));
  });

  test('the tar file and the folder hold the same members', async () => {
    const data = await minted();
    const [tar, folder] = [await openExportAt(await toTar(data)), await openExportAt(await toFolder(data))];
    expect(tar.digest).toBe(folder.digest);
    for (const file of tar.manifest.files)
      expect(await tar.readChecked(file)).toEqual(await folder.readChecked(file));
    await tar.close();
  });

  test('that was stopped goes on: what is whole is not written again, what is torn is', async () => {
    const data = await minted();
    const whole = await contentOf(await toFolder(data));
    const folder = await toFolder(data);
    await rm(join(folder, 'manifest.json'));
    const [instance] = await readdir(join(folder, 'instances'));
    const torn = join(folder, 'instances', instance!, 'tile/entries/000');
    await writeFile(torn, (await readFile(torn)).subarray(0, 1000));
    await rm(join(folder, 'instances', instance!, 'evidence/1.cbor'));
    await writeFile(join(folder, 'instances', instance!, 'tile/entries/009'), 'of an earlier state');
    await toFolder(data, folder);
    expect(await contentOf(folder)).toEqual(whole);
  });

  test('without its manifest is no export', async () => {
    const folder = await toFolder(await minted());
    await rm(join(folder, 'manifest.json'));
    await expect(openExportAt(folder)).rejects.toMatchObject({ code: 'EXPORT_INCOMPLETE' });
  });

  test('put back and exported again is the same export', async () => {
    const data = await minted();
    const reader = await openExportAt(await toTar(data));
    const restored = await makeFolder();
    expect(await importArchive(reader, restored)).toMatchObject({ present: 0 });
    expect(await importArchive(reader, restored)).toMatchObject({ written: 0 });
    expect((await openExportAt(await toTar(restored))).digest).toBe(reader.digest);
    await reader.close();
  });

  test('never overwrites other bytes when it is put back, and writes nothing then', async () => {
    const reader = await openExportAt(await toTar(await minted()));
    const data = await makeFolder();
    const last = reader.manifest.files.at(-1)!;
    await cp(await toFolder(await minted()), data, { recursive: true });
    const before = await contentOf(data);
    const target = join(data, last.path);
    await import('../../support/mintedLog.ts').then(({ putFile }) => putFile(target, 'something else'));
    await expect(importArchive(reader, data)).rejects.toMatchObject({ code: 'EXPORT_CONFLICT' });
    await rm(target);
    expect(await contentOf(data)).toEqual(before);
    await reader.close();
  });

  test('with an altered member is not put back', async () => {
    const folder = await toFolder(await minted());
    const [instance] = await readdir(join(folder, 'instances'));
    await writeFile(join(folder, 'instances', instance!, 'origin'), 'evil/vouchsafe/00\n');
    const reader = await openExportAt(folder);
    await expect(importArchive(reader, await makeFolder())).rejects.toMatchObject({
      code: 'EXPORT_MISMATCH',
    });
  });
});

describe('a tar file that anyone may have written', () => {
  test(
    'is read or refused, whatever byte is altered',
    async () => {
      const path = await toTar(await minted());
      const bytes = await readFile(path);
      const altered = join(await makeFolder(), 'altered.tar');
      const property = fc.asyncProperty(
        fc.nat(bytes.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (at, by) => {
          const copy = Buffer.from(bytes);
          copy[at] = copy[at]! ^ by;
          await writeFile(altered, copy);
          const reader = await openExportAt(altered).catch((error: unknown) => {
            expect(error).toBeInstanceOf(ExportError);
          });
          await reader?.close();
        },
      );
      await fc.assert(property, propertyRuns(30));
    },
    PROPERTY_TIMEOUT,
  );

  test('that is cut short is refused', async () => {
    const path = await toTar(await minted());
    const bytes = await readFile(path);
    for (const length of [0, 100, 512, 5000, bytes.length - 1024, bytes.length - 1025]) {
      await writeFile(path, bytes.subarray(0, length));
      await expect(openExportAt(path)).rejects.toBeInstanceOf(ExportError);
    }
  });

  test.each([
    '../../etc/passwd',
    '/etc/passwd',
    'instances/00/origin',
    `instances/${'0'.repeat(32)}/journal`,
  ])('with a member named %s is refused', async (name) => {
    const path = join(await makeFolder(), 'evil.tar');
    const sink = createTarSink(createWriteStream(path));
    await sink.write(name, new Uint8Array(3));
    await sink.finish(new Set());
    await expect(openExportAt(path)).rejects.toMatchObject({ code: 'EXPORT_MALFORMED' });
  });

  test('what is neither is named as unreadable', async () => {
    await expect(openArchive(join(await makeFolder(), 'nothing'))).rejects.toMatchObject({
      code: 'EXPORT_UNREADABLE',
    });
    await expect(openArchive(await makeFolder())).rejects.toMatchObject({ code: 'EXPORT_INCOMPLETE' });
  });
});

describe('names of files that are of no instance', () => {
  const digest = 'a'.repeat(64);

  test.each([`policies/${digest}.json`, 'renewals/0.cbor', 'renewals/3.renewals.list', 'renewals/3.15.tsr'])(
    '%s has a place in an export',
    (name) => {
      expect(isMember(name)).toBe(true);
    },
  );

  test.each([
    'policies/x.json',
    `policies/${digest}.cbor`,
    `policies/../${digest}.json`,
    'renewals/',
    'renewals/lock',
    'renewals/00.cbor',
    'renewals/0.16.tsr',
    'renewals/0.cbor.tmp',
    'renewals/../manifest.json',
    'renewals/x/0.cbor',
    '/renewals/0.cbor',
  ])('%s has none', (name) => {
    expect(isMember(name)).toBe(false);
  });
});

describe('a manifest', () => {
  const instance = '0'.repeat(32);
  const file = (path: string) => ({ path: `instances/${instance}/${path}`, size: 1, sha256: '0'.repeat(64) });
  const manifest = {
    format: 'vouchsafe/export/1' as const,
    instances: [
      {
        instance,
        origin: `localhost/vouchsafe/${instance}`,
        created: 1,
        size: 3,
        entries: [0, 2] as [number, number],
      },
    ],
    files: [file('checkpoint'), file('created')],
  };

  test('is read as it was written', () => {
    expect(parseManifest(encodeManifest(manifest))).toEqual(manifest);
    const range = { from: '2026-11-21T00:00:00.000Z' };
    expect(parseManifest(encodeManifest({ ...manifest, range, files: [] }))).toEqual({
      ...manifest,
      range,
      files: [],
    });
  });

  test.each([
    ['an unsorted list', { ...manifest, files: [file('created'), file('checkpoint')] }],
    ['a file twice', { ...manifest, files: [file('created'), file('created')] }],
    ['a path that leads out', { ...manifest, files: [file('../../x')] }],
    ['a file of an instance that is not listed', { ...manifest, instances: [] }],
    ['an instance twice', { ...manifest, instances: [manifest.instances[0]!, manifest.instances[0]!] }],
    ['an unknown member', { ...manifest, more: 1 }],
    ['another format', { ...manifest, format: 'vouchsafe/export/2' }],
  ])('with %s is refused', (_, value) => {
    expect(() => parseManifest(Buffer.from(JSON.stringify(value)))).toThrow(ExportError);
  });

  test.each([
    'journal',
    'lock',
    'origin.tmp',
    'tile/0/000.p/256',
    'tile/entries/0',
    'evidence/01.cbor',
    '../origin',
    'anchors/1.collateral',
  ])('the path %s has no place below an instance', (path) => {
    expect(isInstancePath(path)).toBe(false);
  });
});
