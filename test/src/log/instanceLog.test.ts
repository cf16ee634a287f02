import { readdir, readFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { leafHash, verifyConsistency, verifyInclusion } from '../../../attestation/log/merkle.ts';
import { parseBundle, parseTilePath } from '../../../attestation/log/tiles.ts';
import { openLog } from '../../../src/log/openLog.ts';
import { describeCorpus } from '../../support/corpus.ts';
import {
  brokenFile,
  entryOf,
  expectedRoot,
  fill,
  logCodeOf,
  noteOf,
  ORIGIN,
  publish,
  sha256,
  PLACES,
  withLog,
  withLogIn,
} from './support.ts';

describe('appending', () => {
  test('indexes are given in call order, before anything is durable', () =>
    withLog(async (log) => {
      const first = log.enqueue(entryOf(0));
      const second = log.enqueue(entryOf(1));
      expect([first.index, second.index, log.size, log.durableSize]).toEqual([0, 1, 2, 0]);
      await second.durable;
      expect(log.durableSize).toBe(2);
      expect(toHex(log.head.root)).toBe(toHex(expectedRoot(2)));
    }));

  test('what comes while a write is under way shares the next one', async () => {
    let writes = 0;
    const openFile = brokenFile((file) => ({
      write: (bytes, position) => {
        writes++;
        return file.write(bytes, position);
      },
    }));
    await withLog(
      async (log) => {
        const first = log.enqueue(entryOf(0));
        // The first batch is being written when the others come.
        await new Promise((resolve) => setImmediate(resolve));
        await Promise.all([first.durable, fill(log, 100)]);
        expect(writes).toBe(2);
      },
      { openFile },
    );
  });

  test('an entry counts as durable only after the write', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const openFile = brokenFile((file) => ({
      write: (bytes, position) => held.then(() => file.write(bytes, position)),
    }));
    await withLog(
      async (log) => {
        let durable = false;
        const appended = log.enqueue(entryOf(0)).durable.then(() => (durable = true));
        await new Promise((resolve) => setTimeout(resolve, 20));
        expect([durable, log.durableSize]).toEqual([false, 0]);
        expect(await logCodeOf(() => log.root(1))).toBe('LOG_OUT_OF_RANGE');
        release();
        await appended;
        expect(log.durableSize).toBe(1);
      },
      { openFile },
    );
  });

  test('a file system that writes less than it is given loses nothing', () =>
    withLog(
      async (log) => {
        await fill(log, 20);
        const journal = await readFile(join(log.place, 'journal'));
        expect(parseBundle(journal, 20).map(toHex)).toEqual(
          Array.from({ length: 20 }, (_, i) => toHex(entryOf(i))),
        );
      },
      {
        openFile: brokenFile((file) => ({
          write: (bytes, position) => file.write(bytes.subarray(0, 7), position),
        })),
      },
    ));

  test('entries have at most 65,535 bytes', () =>
    withLog(async (log) => {
      expect(await logCodeOf(() => log.enqueue(new Uint8Array(65_536)))).toBe('ENTRY_TOO_LARGE');
      const { index, durable } = log.enqueue(new Uint8Array(65_535));
      await durable;
      expect(index).toBe(0);
      expect(await log.entry(0)).toHaveLength(65_535);
    }));

  test('a closed log takes nothing, but wrote what it took', () =>
    withLog(async (log) => {
      const { durable } = log.enqueue(entryOf(0));
      const closing = log.close();
      expect(await logCodeOf(() => log.enqueue(entryOf(1)))).toBe('LOG_ENDED');
      await Promise.all([durable, closing]);
      expect(await logCodeOf(() => publish(log))).toBe('LOG_ENDED');
    }));

  test.each(PLACES)('in %s a log is opened once, also after its writer is gone', (_name, withPlace) =>
    withPlace(({ storage }) =>
      withLogIn(storage, async (log) => {
        const again = () => openLog({ storage, instance: 'a0', origin: ORIGIN, created: 2 });
        expect(await logCodeOf(again)).toBe('LOG_LOCKED');
        await log.close();
        expect(await logCodeOf(again)).toBe('LOG_LOCKED');
      }),
    ),
  );
});

describe('reading', () => {
  const SIZE = 700;

  test('proofs at random sizes verify, across bundles and tiles', () =>
    withLog(async (log) => {
      await fill(log, SIZE);
      const sizes = fc.tuple(fc.integer({ min: 1, max: SIZE }), fc.integer({ min: 1, max: SIZE }));
      await fc.assert(
        fc.asyncProperty(sizes, fc.nat(), async ([a, b], pick) => {
          const [size1, size2] = a < b ? [a, b] : [b, a];
          const index = pick % size2;
          const [root1, root2] = [await log.root(size1), await log.root(size2)];
          expect(toHex(root1)).toBe(toHex(expectedRoot(size1)));
          const path = await log.inclusionProof(index, size2);
          verifyInclusion(
            sha256,
            { index, size: size2, path },
            leafHash(sha256, await log.entry(index)),
            root2,
          );
          const consistency = await log.consistencyProof(size1, size2);
          verifyConsistency(sha256, { size1, size2, path: consistency }, root1, root2);
        }),
        { seed: 1, numRuns: 40 },
      );
    }));

  test('what the log does not hold is out of range', () =>
    withLog(async (log) => {
      await fill(log, 3);
      for (const step of [
        () => log.entry(3),
        () => log.entry(-1),
        () => log.root(4),
        () => log.inclusionProof(3, 3),
        () => log.inclusionProof(0, 4),
        () => log.consistencyProof(0, 3),
        () => log.consistencyProof(3, 2),
      ]) {
        expect(await logCodeOf(step)).toBe('LOG_OUT_OF_RANGE');
      }
      expect(toHex(await log.root(0))).toBe(toHex(expectedRoot(0)));
      expect(await log.tile('tile/0/000.p/4')).toBeUndefined();
      expect(await log.tile('tile/0/000')).toBeUndefined();
      expect(await log.tile('tile/1/000.p/1')).toBeUndefined();
    }));

  test('reads go on while the log grows', () =>
    withLog(async (log) => {
      await fill(log, 10);
      const growing = fill(log, 900);
      while (log.durableSize < 900) {
        const size = log.durableSize;
        expect(toHex(await log.root(size))).toBe(toHex(expectedRoot(size)));
        expect(toHex(await log.entry(size - 1))).toBe(toHex(entryOf(size - 1)));
        // Reads from memory alone would keep the disk waiting.
        await new Promise((resolve) => setImmediate(resolve));
      }
      await growing;
    }));
});

describe('publishing', () => {
  test('full tiles and bundles replace partial tiles', () =>
    withLog(async (log) => {
      await fill(log, 250);
      await publish(log);
      expect(await readdir(join(log.place, 'tile/0'))).toEqual(['000.p']);
      await fill(log, 300);
      await publish(log);
      expect((await readdir(join(log.place, 'tile/0'))).sort()).toEqual(['000', '001.p']);
      expect(await readdir(join(log.place, 'tile/entries'))).toEqual(['000']);
      expect(await readFile(join(log.place, 'checkpoint'))).toEqual(
        Buffer.from(noteOf(300, expectedRoot(300))),
      );
    }));

  test('only a checkpoint of this log and tree goes out, never below the last', () =>
    withLog(async (log) => {
      await fill(log, 5);
      const refused = (note: Uint8Array, size: number) => logCodeOf(() => log.publish(note, size));
      expect(await refused(noteOf(6, expectedRoot(6)), 6)).toBe('CHECKPOINT_REFUSED');
      expect(await refused(noteOf(4, expectedRoot(4)), 5)).toBe('CHECKPOINT_REFUSED');
      expect(await refused(noteOf(5, expectedRoot(4)), 5)).toBe('CHECKPOINT_REFUSED');
      expect(await refused(noteOf(5, expectedRoot(5), 'other.example.org/x'), 5)).toBe('CHECKPOINT_REFUSED');
      expect(await refused(utf8('no note'), 5)).toBe('CHECKPOINT_REFUSED');
      await publish(log);
      expect(await refused(noteOf(4, expectedRoot(4)), 4)).toBe('CHECKPOINT_REFUSED');
      await fill(log, 6);
      expect(log.durableSize).toBe(6);
    }));

  test('evidence documents are written once and in order', () =>
    withLog(async (log) => {
      expect(await logCodeOf(() => log.writeEvidence(1, utf8('b')))).toBe('EVIDENCE_REFUSED');
      await log.writeEvidence(0, utf8('a'));
      await log.writeEvidence(1, utf8('b'));
      expect(await logCodeOf(() => log.writeEvidence(1, utf8('c')))).toBe('EVIDENCE_REFUSED');
      expect(log.evidenceHead).toMatchObject({ seq: 1, digest: sha256(utf8('b')) });
      expect(toHex(await log.readEvidence(0))).toBe(toHex(utf8('a')));
      expect(await logCodeOf(() => log.readEvidence(2))).toBe('LOG_OUT_OF_RANGE');
    }));
});

describeCorpus('C2SP logs byte for byte', 'standards/vectors/tlog', (directory) => {
  const read = (file: string): unknown => JSON.parse(readFileSync(join(directory, file), 'utf8'));

  test('a 15-entry log published at the same sizes has the same files', async () => {
    const vector = read('tessera-log.json') as {
      origin: string;
      checkpoints: Record<string, string>;
      tiles: Record<string, string>;
      entry_bundles: Record<string, string>;
    };
    const entries = parseBundle(Buffer.from(vector.entry_bundles['tile/entries/000.p/15']!, 'hex'), 15);
    await withLog(
      async (log) => {
        for (const [text, note] of Object.entries(vector.checkpoints)) {
          const size = Number(text);
          await Promise.all(entries.slice(log.size, size).map((entry) => log.enqueue(entry).durable));
          await log.publish(utf8(note), size);
        }
        for (const [path, hex] of Object.entries(vector.tiles)) {
          expect((await readFile(join(log.place, path))).toString('hex')).toBe(hex);
          expect(toHex((await log.tile(path))!)).toBe(hex);
        }
        for (const [path, hex] of Object.entries(vector.entry_bundles)) {
          expect(toHex((await log.tile(path))!)).toBe(hex);
        }
        expect(await readFile(join(log.place, 'checkpoint'), 'utf8')).toBe(vector.checkpoints['15']);
      },
      { origin: vector.origin },
    );
  });

  test('a 300-entry log has the same full, partial and level 1 tiles', async () => {
    const mirror = read('sunlight-mirror.json') as {
      origin: string;
      checkpoint: string;
      tiles: Record<string, string>;
    };
    await withLog(
      async (log) => {
        await fill(log, 300);
        await log.publish(utf8(mirror.checkpoint), 300);
        for (const [path, hex] of Object.entries(mirror.tiles)) {
          expect(parseTilePath(path).width).toBeGreaterThan(0);
          expect((await readFile(join(log.place, path))).toString('hex')).toBe(hex);
        }
      },
      { origin: mirror.origin },
    );
  });
});
