import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { encodeBundle, encodeBundleEntry } from '../../../attestation/log/tiles.ts';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { diskStorage } from '../../../src/log/diskStorage.ts';
import { serveFormerLogs } from '../../../src/log/formerLogs.ts';
import { openLog } from '../../../src/log/openLog.ts';
import { openReadOnlyLog } from '../../../src/log/readOnlyLog.ts';
import { recoverLogs } from '../../../src/log/recover.ts';
import type { LogStorage } from '../../../src/log/storage.ts';
import { crashOnce, killMoments, onDisk } from '../../../scripts/crash/crash.ts';
import {
  entryOf,
  expectedRoot,
  fill,
  logCodeOf,
  noteOf,
  ORIGIN,
  type Place,
  PLACES,
  publish,
  sha256,
  withFolder,
  withObjects,
} from './support.ts';

/** Leaves behind a closed log of `size` entries, published at `published`. */
async function leaveLog(
  storage: LogStorage,
  instance: string,
  size: number,
  published = size,
): Promise<string> {
  const { created } = await recoverLogs(storage);
  const log = await openLog({ storage, instance, origin: `${ORIGIN}${instance}`, created });
  await log.writeEvidence(0, utf8(`evidence of ${instance}`));
  await fill(log, published);
  await log.publish(noteOf(published, log.head.root, log.origin), published);
  await fill(log, size);
  await log.close();
  return log.place;
}

describe.each(PLACES)('recovery in %s', (_name, withPlace) => {
  test('of nothing', () =>
    withPlace(async ({ storage }) => {
      expect(await recoverLogs(storage)).toEqual({ logs: [], predecessor: undefined, created: 1 });
    }));

  test('orders former logs and gives the newest as predecessor, as found', () =>
    withPlace(async ({ storage }) => {
      await leaveLog(storage, 'ff', 300, 280);
      await leaveLog(storage, '0a', 5);
      await storage.files('never-opened').write('created', utf8('1\n'));
      const { logs, predecessor, created } = await recoverLogs(storage);
      expect(logs.map(({ instance, state, size }) => [instance, state, size])).toEqual([
        ['ff', 'whole', 300],
        ['0a', 'whole', 5],
      ]);
      expect(created).toBe(3);
      expect(predecessor).toMatchObject({
        instance: '0a',
        origin: `${ORIGIN}0a`,
        size: 5,
        evidenceHead: { seq: 0, digest: sha256(utf8('evidence of 0a')) },
      });
      expect(predecessor!.checkpoint).toEqual(await storage.files('0a').read('checkpoint'));
      const former = await openReadOnlyLog(storage.files('ff'));
      expect(toHex(await former.root(300))).toBe(toHex(expectedRoot(300)));
      expect(toHex(await former.entry(299))).toBe(toHex(entryOf(299)));
      expect(await former.tile('tile/0/000')).toHaveLength(8192);
      expect(former.publishedSize).toBe(280);
      await former.audit();
    }));

  test('a bundle that became full just before the crash is finished', () =>
    withPlace(async ({ storage, files, lengthen }) => {
      await leaveLog(storage, 'a0', 767);
      await lengthen(2, encodeBundleEntry(entryOf(767)));
      expect(await logCodeOf(() => openReadOnlyLog(files))).toBe('LOG_CORRUPT');
      for (let i = 0; i < 2; i++) {
        expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'whole', size: 768 }]);
        expect(await files.names('journal/2').catch(() => [])).toEqual([]);
      }
      const log = await openReadOnlyLog(files);
      await log.audit();
      expect(toHex(await log.root(768))).toBe(toHex(expectedRoot(768)));
    }));

  const damages: [string, (place: Place) => Promise<void>][] = [
    ['no creation number', ({ remove }) => remove('created')],
    ['an empty origin', ({ files }) => files.write('origin', utf8('\n'))],
    ['a checkpoint of more entries', async ({ remove, journalPath }) => remove(await journalPath(2))],
    ['a checkpoint that is no note', ({ files }) => files.write('checkpoint', utf8('no note'))],
    ['a tile of other hashes', ({ files }) => files.write('tile/0/001', new Uint8Array(8192))],
    ['a missing tile', ({ remove }) => remove('tile/0/000')],
    ['a missing bundle', ({ remove }) => remove('tile/entries/000')],
  ];
  test.each(damages)('%s is reported and stops nothing', (_damage, damage) =>
    withPlace(async (place) => {
      const { storage } = place;
      await leaveLog(storage, 'a0', 600);
      await damage(place);
      const { logs, created } = await recoverLogs(storage);
      expect(logs).toMatchObject([{ instance: 'a0', state: 'damaged' }]);
      expect(logs[0]!.problem).toMatch(/^LOG_CORRUPT/);
      const next = await openLog({ storage, instance: 'b0', origin: ORIGIN, created });
      await next.close();
    }),
  );

  test('a missing bundle in the middle never lets another take its place', () =>
    withPlace(async ({ storage, files, lengthen, remove, journalPath }) => {
      await leaveLog(storage, 'a0', 1023);
      await lengthen(3, encodeBundleEntry(entryOf(1023)));
      const newest = await journalPath(3);
      await remove('tile/entries/001');
      const [tile, journal] = [await files.read('tile/0/001'), await files.read(newest)];
      expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'damaged' }]);
      expect(await files.read('tile/0/001')).toEqual(tile);
      expect(await files.read(newest)).toEqual(journal);
    }));

  test('an entry changed in a bundle is found by the audit', () =>
    withPlace(async ({ storage, files }) => {
      await leaveLog(storage, 'a0', 300);
      const bundle = (await files.read('tile/entries/000'))!;
      bundle[9]! ^= 1;
      await files.write('tile/entries/000', bundle);
      const log = await openReadOnlyLog(files);
      expect(await logCodeOf(() => log.audit())).toBe('LOG_CORRUPT');
    }));
});

describe('recovery on a disk', () => {
  test('a torn tail of any length is cut to the last complete entry and named', () =>
    withFolder(async (folder) => {
      const storage = diskStorage(folder);
      const whole = encodeBundle([entryOf(0), entryOf(1)]);
      const torn = encodeBundleEntry(utf8('the entry that was being written'));
      const directory = await leaveLog(storage, 'a0', 2);
      for (let bytes = 1; bytes < torn.length; bytes++) {
        await writeFile(join(directory, 'journal'), Buffer.concat([whole, torn.subarray(0, bytes)]));
        expect(await logCodeOf(() => openReadOnlyLog(storage.files('a0')))).toBe('LOG_CORRUPT');
        const { logs } = await recoverLogs(storage);
        expect(logs).toMatchObject([{ state: 'whole', size: 2, cut: { bytes, index: 2 } }]);
        expect(await readFile(join(directory, 'journal'))).toEqual(Buffer.from(whole));
        expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'whole', cut: undefined }]);
      }
      await writeFile(join(directory, 'journal'), Buffer.concat([whole, torn]));
      expect((await recoverLogs(storage)).logs).toMatchObject([{ size: 3, cut: undefined }]);
    }));

  test('a crash between two bundles leaves no journal', () =>
    withFolder(async (folder) => {
      const storage = diskStorage(folder);
      const directory = await leaveLog(storage, 'a0', 512);
      await rm(join(directory, 'journal'));
      expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'whole', size: 512 }]);
      await (await openReadOnlyLog(storage.files('a0'))).audit();
    }));

  test('a log that another process writes is left alone', () =>
    withFolder(async (folder) => {
      const storage = diskStorage(folder);
      const log = await openLog({ storage, instance: 'a0', origin: ORIGIN, created: 1 });
      await fill(log, 3);
      expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'live', size: 3, cut: undefined }]);
      await fill(log, 4);
      await publish(log);
      await log.close();
      expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'whole', size: 4 }]);
    }));

  test('a copy of a log elsewhere opens as well', () =>
    withFolder(async (folder) => {
      const directory = await leaveLog(diskStorage(join(folder, 'instances')), 'a0', 300);
      await cp(directory, join(folder, 'copy'), {
        recursive: true,
        filter: (path) => !path.endsWith('lock'),
      });
      await (await openReadOnlyLog(diskStorage(folder).files('copy'))).audit();
    }));

  test(
    'a writer killed under load loses nothing that it acknowledged',
    () =>
      withFolder(async (folder) => {
        const settings = onDisk(folder);
        for (const moment of killMoments(7, 3, 600)) {
          const { acknowledged, size } = await crashOnce(settings, moment);
          expect(size).toBeGreaterThanOrEqual(acknowledged);
        }
        expect((await recoverLogs(diskStorage(join(folder, 'instances')))).logs).toHaveLength(3);
      }),
    60_000,
  );
});

describe('recovery in an object store', () => {
  test('a batch that lacks its end is damage: no crash leaves that', () =>
    withObjects(async (storage) => {
      await leaveLog(storage, 'a0', 3);
      const files = storage.files('a0');
      const batch = (await files.read('journal/0/000'))!;
      await files.write('journal/0/000', batch.subarray(0, batch.length - 1));
      expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'damaged' }]);
    }));

  test('batches of a bundle that was sealed count no more, and go', () =>
    withObjects(async (storage) => {
      await leaveLog(storage, 'a0', 300);
      const files = storage.files('a0');
      await files.write('journal/0/000', encodeBundleEntry(entryOf(0)));
      expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'whole', size: 300 }]);
      expect(await files.names('journal/0')).toEqual([]);
    }));

  test('recovery of a log that is written still does it no harm, also while its bundle is moved', () =>
    withObjects(
      async (storage, { server }) => {
        let failures = 0;
        const retryDelaysMs = [2000, 100, 100, 100];
        const named = { storage, instance: 'a0', origin: ORIGIN, created: 1 };
        const log = await openLog({ ...named, retryDelaysMs, onFailure: () => failures++ });
        await fill(log, 3);
        expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'whole', size: 3 }]);
        server.failAt = (line) => (line.includes('/tile/entries/') ? 'refuses' : undefined);
        await fill(log, 256);
        while (failures === 0) await new Promise((resolve) => setTimeout(resolve, 1));
        server.failAt = () => undefined;
        expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'whole', size: 256 }]);
        await log.writeEvidence(0, utf8('waits for its turn'));
        await fill(log, 300);
        await publish(log);
        await log.close();
        expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'whole', size: 300 }]);
      },
      { conditional: true },
    ));

  test('a store that is away stops the start: the new log could not name its predecessor', () =>
    withObjects(async (storage, { server }) => {
      await leaveLog(storage, 'a0', 3);
      server.mood = 'refuses';
      expect(await logCodeOf(() => recoverLogs(storage))).toBe('LOG_UNAVAILABLE');
      server.mood = 'serves';
      expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'whole', size: 3 }]);
    }));
});

describe.each(PLACES)('former logs in %s', (_name, withPlace) => {
  test('are opened when they are asked for, and stay open', () =>
    withPlace(async ({ storage }) => {
      await leaveLog(storage, 'a0', 5);
      await leaveLog(storage, 'b0', 7);
      const { logs } = await recoverLogs(storage);
      const former = serveFormerLogs(storage, logs);
      expect(former.logs.map(({ instance }) => instance)).toEqual(['a0', 'b0']);
      const log = await former.open('b0');
      expect(log).toMatchObject({ origin: `${ORIGIN}b0`, size: 7, publishedSize: 7 });
      expect(await former.open('b0')).toBe(log);
      expect(await former.open('c0')).toBeUndefined();
      expect(await former.open('../a0')).toBeUndefined();
    }));

  test('one that is damaged is refused until it is mended', () =>
    withPlace(async ({ storage, files }) => {
      await leaveLog(storage, 'a0', 5);
      const { logs } = await recoverLogs(storage);
      const former = serveFormerLogs(storage, logs);
      const checkpoint = (await files.read('checkpoint'))!;
      await files.write('checkpoint', utf8('no note'));
      expect(await logCodeOf(() => former.open('a0'))).toBe('LOG_CORRUPT');
      await files.write('checkpoint', checkpoint);
      expect(await former.open('a0')).toMatchObject({ size: 5 });
    }));
});

test('one that another process writes is not served as a former log', () =>
  withFolder(async (folder) => {
    const storage = diskStorage(folder);
    const log = await openLog({ storage, instance: 'a0', origin: ORIGIN, created: 1 });
    const { logs } = await recoverLogs(storage);
    expect(await serveFormerLogs(storage, logs).open('a0')).toBeUndefined();
    await log.close();
  }));
