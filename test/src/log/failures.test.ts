import { appendFile, copyFile, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { parseBundle } from '../../../attestation/log/tiles.ts';
import { diskStorage } from '../../../src/log/diskStorage.ts';
import type { InstanceLog } from '../../../src/log/instanceLog.ts';
import { openLog } from '../../../src/log/openLog.ts';
import { openReadOnlyLog } from '../../../src/log/readOnlyLog.ts';
import { recoverLogs } from '../../../src/log/recover.ts';
import { canMount, mountSmall, unmount } from '../../../scripts/crash/fullDisk.ts';
import {
  brokenFile,
  entryOf,
  expectedRoot,
  fill,
  logCodeOf,
  ORIGIN,
  publish,
  systemError,
  withFolder,
  withLog,
} from './support.ts';

/** Files whose `operation` fails while `broken()`; a write leaves half of its bytes behind. */
function failing(operation: 'write' | 'sync' | 'truncate', broken: () => boolean, code = 'ENOSPC') {
  return brokenFile((file) => ({
    [operation]: async (...args: [Uint8Array, number]) => {
      if (!broken()) return (file[operation] as (...all: unknown[]) => Promise<unknown>)(...args);
      const [bytes, position] = args;
      if (operation === 'write') await file.write(bytes.subarray(0, bytes.length / 2), position);
      throw systemError(code);
    },
  }));
}

const mountable = canMount();

describe('a disk that fails', () => {
  test('for a while: nothing is lost or doubled', async () => {
    let failures = 0;
    let broken = false;
    await withLog(
      async (log) => {
        await fill(log, 3);
        broken = true;
        const waiting = log.enqueue(entryOf(3));
        while (failures === 0) await new Promise((resolve) => setTimeout(resolve, 1));
        expect(await logCodeOf(() => log.enqueue(entryOf(4)))).toBe('LOG_UNAVAILABLE');
        expect([log.size, log.durableSize]).toEqual([4, 3]);
        broken = false;
        await waiting.durable;
        await fill(log, 10);
        const journal = await readFile(join(log.place, 'journal'));
        expect(parseBundle(journal, 10)).toHaveLength(10);
        expect(toHex(log.head.root)).toBe(toHex(expectedRoot(10)));
        await publish(log);
      },
      {
        openFile: failing('write', () => broken),
        retryDelaysMs: [10, 10, 10, 10, 10, 10],
        onFailure: () => failures++,
      },
    );
  });

  test.each(['write', 'sync', 'truncate'] as const)('for good at %s: the log ends', async (operation) => {
    let broken = false;
    const openFile = failing('write', () => broken, 'EIO');
    const opened: typeof openFile = async (path) => {
      const file = await openFile(path);
      return operation === 'write'
        ? file
        : { ...file, [operation]: () => Promise.reject(systemError('EIO')) };
    };
    await withLog(
      async (log) => {
        await fill(log, 3);
        broken = true;
        const waiting = [log.enqueue(entryOf(3)), log.enqueue(entryOf(4))];
        for (const { durable } of waiting) expect(await logCodeOf(() => durable)).toBe('LOG_ENDED');
        broken = false;
        expect(await logCodeOf(() => log.enqueue(entryOf(3)))).toBe('LOG_ENDED');
        expect(await logCodeOf(() => publish(log))).toBe('LOG_ENDED');
        expect(log.durableSize).toBe(3);
      },
      { openFile: opened, retryDelaysMs: [1, 1] },
    );
  });

  test('when a full bundle is moved: it is tried again', async () => {
    let failures = 0;
    await withLog(
      async (log) => {
        // A file where a folder is needed.
        const blocked = join(log.place, 'tile/0');
        await writeFile(blocked, '');
        await fill(log, 256);
        while (failures < 2) await new Promise((resolve) => setTimeout(resolve, 1));
        expect(log.durableSize).toBe(256);
        expect(await logCodeOf(() => log.enqueue(entryOf(256)))).toBe('LOG_UNAVAILABLE');
        await rm(blocked);
        await log.writeEvidence(0, utf8('waits for its turn'));
        await fill(log, 300);
        expect(toHex(await log.root(300))).toBe(toHex(expectedRoot(300)));
        await publish(log);
      },
      { retryDelaysMs: Array<number>(200).fill(5), onFailure: () => failures++ },
    );
  });

  const whenMounted = mountable ? test : test.skip;
  whenMounted(`full${mountable ? '' : ' (skipped: no small file system can be mounted here)'}`, () =>
    withFolder(async (folder) => {
      mountSmall(folder, '256k');
      try {
        const storage = diskStorage(join(folder, 'instances'));
        const named = { storage, instance: 'a0', origin: ORIGIN, created: 1 };
        const log = await openLog({ ...named, retryDelaysMs: [1, 1] });
        const durable: number[] = [];
        for (let code = 'done'; code === 'done';) {
          code = await logCodeOf(async () => {
            const appended = log.enqueue(new Uint8Array(5000).fill(log.size));
            await appended.durable;
            durable.push(appended.index);
          });
          expect(code).toMatch(/^(done|LOG_ENDED)$/);
        }
        expect(log.durableSize).toBe(durable.length);
        await log.close();
        await recoverLogs(storage);
        const stored = await openReadOnlyLog(storage.files('a0'));
        expect(stored.size).toBeGreaterThanOrEqual(durable.length);
        for (const index of durable) expect((await stored.entry(index))[0]).toBe(index);
      } finally {
        unmount(folder);
      }
    }),
  );
});

describe('live-rollback: a disk that is not what this process left', () => {
  const journalOf = (log: InstanceLog) => join(log.place, 'journal');

  /** Each tampers with the files of a log of 300 entries whose last checkpoint is of 290. */
  const seenAtAppend: [string, (log: InstanceLog) => Promise<void>][] = [
    ['the journal cut', (log) => truncate(journalOf(log), 20)],
    ['the journal lengthened by another writer', (log) => appendFile(journalOf(log), Buffer.from([0, 1, 9]))],
    ['the journal gone', (log) => rm(journalOf(log))],
    [
      'the journal replaced by an equal copy',
      async (log) => {
        await copyFile(journalOf(log), `${journalOf(log)}.copy`);
        await rename(`${journalOf(log)}.copy`, journalOf(log));
      },
    ],
  ];
  const seenAtPublish: [string, (log: InstanceLog) => Promise<void>][] = [
    [
      'one bit of the journal',
      async (log) => {
        const bytes = await readFile(journalOf(log));
        bytes[10]! ^= 1;
        await writeFile(journalOf(log), bytes);
      },
    ],
    ['an older checkpoint', (log) => writeFile(join(log.place, 'checkpoint'), Buffer.from('older\n'))],
    ['no checkpoint', (log) => rm(join(log.place, 'checkpoint'))],
    ['the newest tile', (log) => writeFile(join(log.place, 'tile/0/000'), Buffer.alloc(8192))],
    ['an older evidence head', (log) => writeFile(join(log.place, 'evidence/1.cbor'), 'older')],
    ['no evidence head', (log) => rm(join(log.place, 'evidence/1.cbor'))],
  ];

  async function prepare(log: InstanceLog): Promise<void> {
    await log.writeEvidence(0, utf8('a'));
    await log.writeEvidence(1, utf8('b'));
    await fill(log, 290);
    await publish(log);
    await fill(log, 300);
  }

  test.each(seenAtAppend)('%s: the next append ends the log', (_name, tamper) =>
    withLog(async (log) => {
      await prepare(log);
      await tamper(log);
      const { durable } = log.enqueue(entryOf(300));
      expect(await logCodeOf(() => durable)).toBe('LOG_DIVERGED');
      expect(await logCodeOf(() => log.enqueue(entryOf(300)))).toBe('LOG_DIVERGED');
      expect(await logCodeOf(() => publish(log))).toBe('LOG_DIVERGED');
    }),
  );

  test.each([...seenAtAppend, ...seenAtPublish])('%s: the next checkpoint ends the log', (_name, tamper) =>
    withLog(async (log) => {
      await prepare(log);
      await tamper(log);
      expect(await logCodeOf(() => publish(log))).toBe('LOG_DIVERGED');
      expect(await logCodeOf(() => log.enqueue(entryOf(300)))).toBe('LOG_DIVERGED');
      expect(await logCodeOf(() => log.writeEvidence(2, utf8('c')))).toBe('LOG_DIVERGED');
    }),
  );

  test('a changed evidence head: the next document ends the log', () =>
    withLog(async (log) => {
      await prepare(log);
      await writeFile(join(log.place, 'evidence/1.cbor'), 'older');
      expect(await logCodeOf(() => log.writeEvidence(2, utf8('c')))).toBe('LOG_DIVERGED');
    }));

  test('older tiles and bundles: reads of them fail, and do not lie', () =>
    withLog(async (log) => {
      await fill(log, 600);
      const bundle = await readFile(join(log.place, 'tile/entries/000'));
      bundle[5]! ^= 1;
      await writeFile(join(log.place, 'tile/entries/000'), bundle);
      await writeFile(join(log.place, 'tile/0/001'), Buffer.alloc(8192));
      expect(await logCodeOf(() => log.entry(3))).toBe('LOG_CORRUPT');
      expect(await logCodeOf(() => log.inclusionProof(300, 600))).toBe('LOG_CORRUPT');
      expect(await logCodeOf(() => log.tile('tile/0/001'))).toBe('LOG_CORRUPT');
      expect(await logCodeOf(() => log.inclusionProof(3, 256))).toBe('done');
      await fill(log, 601);
    }));
});
