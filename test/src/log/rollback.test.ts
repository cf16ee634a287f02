import { describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { encodeBundleEntry } from '../../../attestation/log/tiles.ts';
import type { InstanceLog } from '../../../src/log/instanceLog.ts';
import { openLog } from '../../../src/log/openLog.ts';
import { openReadOnlyLog } from '../../../src/log/readOnlyLog.ts';
import { recoverLogs } from '../../../src/log/recover.ts';
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
  withLogIn,
  withObjects,
} from './support.ts';

async function flipBit({ files }: Place, path: string): Promise<void> {
  const bytes = Uint8Array.from((await files.read(path))!);
  bytes[bytes.length - 1]! ^= 1;
  await files.write(path, bytes);
}

/** Each changes the files of a log of 300 entries whose last checkpoint is of 290; the journal is bundle 1. */
const SEEN_AT_APPEND: readonly (readonly [string, (place: Place) => Promise<void>])[] = [
  ['the newest append gone', async ({ remove, journalPath }) => remove(await journalPath(1))],
  [
    'the newest append cut short',
    async ({ files, journalPath }) => {
      const path = await journalPath(1);
      const bytes = (await files.read(path))!;
      await files.write(path, bytes.subarray(0, bytes.length - 1));
    },
  ],
  ['a second writer', ({ lengthen }) => lengthen(1, encodeBundleEntry(utf8('of another process')))],
];

const SEEN_AT_PUBLISH: readonly (readonly [string, (place: Place) => Promise<void>])[] = [
  ['one bit of the journal', async (place) => flipBit(place, await place.journalPath(1))],
  ['an older checkpoint', ({ files }) => files.write('checkpoint', utf8('older\n'))],
  ['no checkpoint', ({ remove }) => remove('checkpoint')],
  ['one bit of the newest tile', (place) => flipBit(place, 'tile/0/000')],
  ['no newest tile', ({ remove }) => remove('tile/0/000')],
  ['an older evidence head', ({ files }) => files.write('evidence/1.cbor', utf8('older'))],
  ['no evidence head', ({ remove }) => remove('evidence/1.cbor')],
];

async function prepare(log: InstanceLog): Promise<void> {
  await log.writeEvidence(0, utf8('a'));
  await log.writeEvidence(1, utf8('b'));
  await fill(log, 290);
  await publish(log);
  await fill(log, 300);
}

describe.each(PLACES)('live-rollback in %s', (_name, withPlace) => {
  test.each(SEEN_AT_APPEND)('%s: the next append ends the log', (_change, change) =>
    withPlace((place) =>
      withLogIn(place.storage, async (log) => {
        await prepare(log);
        await change(place);
        expect(await logCodeOf(() => log.enqueue(entryOf(300)).durable)).toBe('LOG_DIVERGED');
        expect(await logCodeOf(() => log.enqueue(entryOf(300)))).toBe('LOG_DIVERGED');
        expect(log.durableSize).toBe(300);
      }),
    ),
  );

  test.each([...SEEN_AT_APPEND, ...SEEN_AT_PUBLISH])(
    '%s: the next checkpoint ends the log',
    (_change, change) =>
      withPlace((place) =>
        withLogIn(place.storage, async (log) => {
          await prepare(log);
          await change(place);
          expect(await logCodeOf(() => publish(log))).toBe('LOG_DIVERGED');
          expect(await logCodeOf(() => log.enqueue(entryOf(300)))).toBe('LOG_DIVERGED');
          expect(await logCodeOf(() => log.writeEvidence(2, utf8('c')))).toBe('LOG_DIVERGED');
        }),
      ),
  );

  test('a bundle that was replaced after it was full: reads of it fail, and do not lie', () =>
    withPlace((place) =>
      withLogIn(place.storage, async (log) => {
        await fill(log, 600);
        await flipBit(place, 'tile/entries/000');
        expect(await logCodeOf(() => log.entry(255))).toBe('LOG_CORRUPT');
        await fill(log, 601);
      }),
    ));

  test('the files of two equal logs are the same, whatever was appended together', () =>
    withPlace((place) =>
      withLogIn(place.storage, async (log) => {
        for (let size = 1; size <= 300; size += 23) await fill(log, size);
        await fill(log, 300);
        await publish(log);
        const read = async (path: string) => toHex((await place.files.read(path))!);
        expect(await read('checkpoint')).toBe(toHex(noteOf(300, expectedRoot(300))));
        for (const path of ['tile/0/000', 'tile/entries/000', 'tile/0/001.p/44', 'tile/1/000.p/1']) {
          expect(await read(path)).toBe(toHex((await log.tile(path))!));
        }
        const journal = Array.from({ length: 44 }, (_, i) => toHex(encodeBundleEntry(entryOf(256 + i))));
        expect(toHex(await place.files.readJournal(1))).toBe(journal.join(''));
      }),
    ));
});

describe('an object store that fails', () => {
  const moods = ['refuses', 'hangs up', 'forgets', 'denies'] as const;
  const RETRIES = { retryDelaysMs: Array<number>(500).fill(10) };

  describe.each([[true], [false]])('where conditions are known: %s', (conditional) => {
    test.each(moods)('%s for a while: nothing is lost or doubled', (mood) =>
      withObjects(
        async (storage, { server }) => {
          let failures = 0;
          const options = { ...RETRIES, onFailure: () => failures++ };
          await withLogIn(
            storage,
            async (log) => {
              await fill(log, 250);
              await publish(log);
              server.mood = mood;
              const waiting = Array.from({ length: 20 }, () => log.enqueue(entryOf(log.size)));
              while (failures === 0) await new Promise((resolve) => setTimeout(resolve, 1));
              expect(log.failure?.code).toBe('LOG_UNAVAILABLE');
              expect(await logCodeOf(() => log.enqueue(entryOf(270)))).toBe('LOG_UNAVAILABLE');
              expect(log.durableSize).toBe(250);
              server.mood = 'serves';
              await Promise.all(waiting.map(({ durable }) => durable));
              await fill(log, 300);
              await publish(log);
              expect(toHex(log.head.root)).toBe(toHex(expectedRoot(300)));
            },
            options,
          );
          const stored = await openReadOnlyLog(storage.files('a0'));
          expect(stored.size).toBe(300);
          await stored.audit();
        },
        { conditional },
      ),
    );
  });

  test('for good: the log ends, and what was acknowledged is there', () =>
    withObjects(async (storage, { server }) => {
      const options = { retryDelaysMs: [1, 1] };
      await withLogIn(
        storage,
        async (log) => {
          await fill(log, 3);
          server.mood = 'refuses';
          expect(await logCodeOf(() => log.enqueue(entryOf(3)).durable)).toBe('LOG_ENDED');
          server.mood = 'serves';
          expect(await logCodeOf(() => log.enqueue(entryOf(3)))).toBe('LOG_ENDED');
        },
        options,
      );
      expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'whole', size: 3 }]);
    }));

  test.each(['refuses', 'forgets'] as const)(
    '%s while a checkpoint is written: the next one is published',
    (mood) =>
      withObjects(async (storage, { server }) => {
        await withLogIn(storage, async (log) => {
          await fill(log, 3);
          await publish(log);
          await fill(log, 5);
          server.failAt = (line) => (/PUT .*\/checkpoint/.test(line) ? mood : undefined);
          expect(await logCodeOf(() => publish(log))).toBe('LOG_UNAVAILABLE');
          expect(log.publishedSize).toBe(3);
          server.failAt = () => undefined;
          await fill(log, 7);
          await publish(log);
          expect(log.publishedSize).toBe(7);
        });
      }),
  );

  test('for good: a stop does not wait for it, and what was acknowledged is there', () =>
    withObjects(async (storage, { server }) => {
      const log = await openLog({ storage, instance: 'a0', origin: ORIGIN, created: 1, ...RETRIES });
      await fill(log, 3);
      server.mood = 'hangs up';
      const refused = logCodeOf(() => log.enqueue(entryOf(3)).durable);
      await log.close();
      expect(await refused).toBe('LOG_ENDED');
      server.mood = 'serves';
      expect((await recoverLogs(storage)).logs).toMatchObject([{ state: 'whole', size: 3 }]);
    }));

  test('reads say that the store is away, not that the log is damaged', () =>
    withObjects(async (storage, { server }) => {
      await withLogIn(storage, async (log) => {
        await fill(log, 600);
        server.mood = 'refuses';
        expect(await logCodeOf(() => log.entry(3))).toBe('LOG_UNAVAILABLE');
        expect(await logCodeOf(() => log.tile('tile/0/000'))).toBe('LOG_UNAVAILABLE');
        expect(await logCodeOf(() => publish(log))).toBe('LOG_UNAVAILABLE');
        expect((await log.entry(599)).length).toBeGreaterThan(0);
        server.mood = 'serves';
        expect(toHex(await log.entry(3))).toBe(toHex(entryOf(3)));
        await publish(log);
      });
    }));

  test('when a log is opened: another instance can be opened later', () =>
    withObjects(async (storage, { server }) => {
      server.mood = 'refuses';
      const open = (instance: string) => openLog({ storage, instance, origin: ORIGIN, created: 1 });
      expect(await logCodeOf(() => open('a0'))).toBe('LOG_UNAVAILABLE');
      server.mood = 'serves';
      await (await open('b0')).close();
      expect((await recoverLogs(storage)).logs).toMatchObject([{ instance: 'b0', state: 'whole' }]);
    }));
});
