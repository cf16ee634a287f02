import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { encodeBundle, encodeBundleEntry } from '../../../attestation/log/tiles.ts';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { openLog } from '../../../src/log/openLog.ts';
import { openReadOnlyLog } from '../../../src/log/readOnlyLog.ts';
import { recoverLogs } from '../../../src/log/recover.ts';
import { crashOnce, killMoments } from '../../../scripts/crash/crash.ts';
import {
  entryOf,
  expectedRoot,
  fill,
  logCodeOf,
  noteOf,
  ORIGIN,
  publish,
  sha256,
  withFolder,
} from './support.ts';

/** Leaves behind a closed log of `size` entries, published at `published`. */
async function leaveLog(instances: string, name: string, size: number, published = size): Promise<string> {
  const { created } = await recoverLogs(instances);
  const directory = join(instances, name);
  const log = await openLog({ directory, origin: `${ORIGIN}${name}`, created });
  await log.writeEvidence(0, utf8(`evidence of ${name}`));
  await fill(log, published);
  await log.publish(noteOf(published, log.head.root, log.origin), published);
  await fill(log, size);
  await log.close();
  return directory;
}

describe('recovery', () => {
  test('of nothing', () =>
    withFolder(async (folder) => {
      expect(await recoverLogs(join(folder, 'absent'))).toEqual({
        logs: [],
        predecessor: undefined,
        created: 1,
      });
    }));

  test('orders former logs and gives the newest as predecessor, as found on disk', () =>
    withFolder(async (folder) => {
      await leaveLog(folder, 'ff', 300, 280);
      await leaveLog(folder, '0a', 5);
      await mkdir(join(folder, 'never-opened'));
      const { logs, predecessor, created } = await recoverLogs(folder);
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
      expect(predecessor!.checkpoint).toEqual(await readFile(join(folder, '0a/checkpoint')));
      const former = await openReadOnlyLog(join(folder, 'ff'));
      expect(toHex(await former.root(300))).toBe(toHex(expectedRoot(300)));
      expect(toHex(await former.entry(299))).toBe(toHex(entryOf(299)));
      expect(await former.tile('tile/0/000')).toHaveLength(8192);
      await former.audit();
    }));

  test('a torn tail of any length is cut to the last complete entry and named', () =>
    withFolder(async (folder) => {
      const whole = encodeBundle([entryOf(0), entryOf(1)]);
      const torn = encodeBundleEntry(utf8('the entry that was being written'));
      const directory = await leaveLog(folder, 'a0', 2);
      for (let bytes = 1; bytes < torn.length; bytes++) {
        await writeFile(join(directory, 'journal'), Buffer.concat([whole, torn.subarray(0, bytes)]));
        expect(await logCodeOf(() => openReadOnlyLog(directory))).toBe('LOG_CORRUPT');
        const { logs } = await recoverLogs(folder);
        expect(logs).toMatchObject([{ state: 'whole', size: 2, cut: { bytes, index: 2 } }]);
        expect(await readFile(join(directory, 'journal'))).toEqual(Buffer.from(whole));
        expect((await recoverLogs(folder)).logs).toMatchObject([{ state: 'whole', cut: undefined }]);
      }
      await writeFile(join(directory, 'journal'), Buffer.concat([whole, torn]));
      expect((await recoverLogs(folder)).logs).toMatchObject([{ size: 3, cut: undefined }]);
    }));

  test('a bundle that became full just before the crash is finished', () =>
    withFolder(async (folder) => {
      const directory = await leaveLog(folder, 'a0', 767);
      const journal = await readFile(join(directory, 'journal'));
      await writeFile(join(directory, 'journal'), Buffer.concat([journal, encodeBundleEntry(entryOf(767))]));
      expect(await logCodeOf(() => openReadOnlyLog(directory))).toBe('LOG_CORRUPT');
      expect((await recoverLogs(folder)).logs).toMatchObject([{ state: 'whole', size: 768 }]);
      const log = await openReadOnlyLog(directory);
      await log.audit();
      expect(toHex(await log.root(768))).toBe(toHex(expectedRoot(768)));
    }));

  test('a crash between two bundles leaves no journal', () =>
    withFolder(async (folder) => {
      const directory = await leaveLog(folder, 'a0', 512);
      await rm(join(directory, 'journal'));
      expect((await recoverLogs(folder)).logs).toMatchObject([{ state: 'whole', size: 512 }]);
      await (await openReadOnlyLog(directory)).audit();
    }));

  test('a log that another process writes is left alone', () =>
    withFolder(async (folder) => {
      const log = await openLog({ directory: join(folder, 'a0'), origin: ORIGIN, created: 1 });
      await fill(log, 3);
      expect((await recoverLogs(folder)).logs).toMatchObject([{ state: 'live', size: 3, cut: undefined }]);
      await fill(log, 4);
      await publish(log);
      await log.close();
      expect((await recoverLogs(folder)).logs).toMatchObject([{ state: 'whole', size: 4 }]);
    }));

  const damages: [string, (directory: string) => Promise<void>][] = [
    ['no creation number', (directory) => rm(join(directory, 'created'))],
    ['an empty origin', (directory) => writeFile(join(directory, 'origin'), '\n')],
    ['a checkpoint of more entries', (directory) => writeFile(join(directory, 'journal'), '')],
    ['a checkpoint that is no note', (directory) => writeFile(join(directory, 'checkpoint'), 'no note')],
    ['a tile of other hashes', (directory) => writeFile(join(directory, 'tile/0/001'), Buffer.alloc(8192))],
    ['a missing tile', (directory) => rm(join(directory, 'tile/0/000'))],
    ['a missing bundle', (directory) => rm(join(directory, 'tile/entries/000'))],
  ];
  test.each(damages)('%s is reported and stops nothing', (_name, damage) =>
    withFolder(async (folder) => {
      const directory = await leaveLog(folder, 'a0', 600);
      await damage(directory);
      const { logs, created } = await recoverLogs(folder);
      expect(logs).toMatchObject([{ instance: 'a0', state: 'damaged' }]);
      expect(logs[0]!.problem).toMatch(/^LOG_CORRUPT/);
      await openLog({ directory: join(folder, 'b0'), origin: ORIGIN, created }).then((log) => log.close());
    }),
  );

  test('a missing bundle in the middle never lets another take its place', () =>
    withFolder(async (folder) => {
      const directory = await leaveLog(folder, 'a0', 1023);
      const journal = await readFile(join(directory, 'journal'));
      await writeFile(join(directory, 'journal'), Buffer.concat([journal, encodeBundleEntry(entryOf(1023))]));
      await rm(join(directory, 'tile/entries/001'));
      const tile = await readFile(join(directory, 'tile/0/001'));
      expect((await recoverLogs(folder)).logs).toMatchObject([{ state: 'damaged' }]);
      expect(await readFile(join(directory, 'tile/0/001'))).toEqual(tile);
      expect(await readFile(join(directory, 'journal'))).toHaveLength(journal.length + 2 + 11);
    }));

  test('an entry changed on disk is found by the audit', () =>
    withFolder(async (folder) => {
      const directory = await leaveLog(folder, 'a0', 300);
      const bundle = await readFile(join(directory, 'tile/entries/000'));
      bundle[9]! ^= 1;
      await writeFile(join(directory, 'tile/entries/000'), bundle);
      const log = await openReadOnlyLog(directory);
      expect(await logCodeOf(() => log.audit())).toBe('LOG_CORRUPT');
    }));

  test('a copy of a log elsewhere opens as well', () =>
    withFolder(async (folder) => {
      const directory = await leaveLog(join(folder, 'instances'), 'a0', 300);
      await cp(directory, join(folder, 'copy'), {
        recursive: true,
        filter: (path) => !path.endsWith('lock'),
      });
      await (await openReadOnlyLog(join(folder, 'copy'))).audit();
    }));

  test(
    'a writer killed under load loses nothing that it acknowledged',
    () =>
      withFolder(async (folder) => {
        for (const moment of killMoments(7, 3, 600)) {
          const { acknowledged, size } = await crashOnce(join(folder, 'instances'), moment);
          expect(size).toBeGreaterThanOrEqual(acknowledged);
        }
        expect((await recoverLogs(join(folder, 'instances'))).logs).toHaveLength(3);
      }),
    60_000,
  );
});
