import { randomBytes } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { exportArchive } from '../../../src/archive/export/exportArchive.ts';
import { createFolderSink } from '../../../src/archive/export/sinks.ts';
import { openEmbedded } from '../../../src/archive/embedded.ts';
import { auditExport } from '../../../src/audit/audit.ts';
import type { AuditReport } from '../../../src/audit/report.ts';
import { openDataFolder } from '../../../src/export/dataFolder.ts';
import { openArchive } from '../../../src/export/open.ts';
import { snapshotOf } from '../../../src/export/snapshot.ts';
import type { ArchiveSource, InstanceFiles } from '../../../src/export/source.ts';
import { mintLog } from '../../support/mintedLog.ts';
import { makeFolder } from '../../support/service.ts';
import { contextOf } from '../../support/world.ts';
import { startInstance, type TestInstance } from '../archive/instance.ts';

const EVERYTHING = { from: undefined, to: undefined };
/** What is true of the newest entries of a running service. */
const OF_THE_TAIL = ['RECEIPTS_UNCOVERED', 'TAIL_UNSIGNED'];

async function audit(source: ArchiveSource): Promise<AuditReport> {
  const options = {
    name: 'test',
    context: contextOf(),
    signatures: 'all',
    workers: 0,
    software: 'test',
  } as const;
  return auditExport(source, options);
}

async function auditExportOf(source: ArchiveSource): Promise<AuditReport> {
  const folder = await makeFolder();
  await exportArchive(source, EVERYTHING, await createFolderSink(folder));
  return audit(await openArchive(folder));
}

function expectClean({ decision, findings }: AuditReport): void {
  expect(findings.filter(({ code }) => !OF_THE_TAIL.includes(code))).toEqual([]);
  expect(decision).toBe('accepted');
}

/** Receipts and documents without a pause until `work` is done. */
async function underLoad(one: TestInstance, work: () => Promise<void>): Promise<void> {
  const load = { isOver: false };
  const issuing = Array.from({ length: 4 }, async () => {
    while (!load.isOver) await one.issue();
  });
  const asking = (async () => {
    while (!load.isOver) {
      await one.vouching.attest(randomBytes(32));
      await one.archive.catchUp();
    }
  })();
  try {
    await work();
  } finally {
    load.isOver = true;
    await Promise.all([...issuing, asking]);
  }
}

describe('a whole export of a running service', () => {
  test('is of one state and is accepted, from its data folder and from its archive', async () => {
    const folder = await makeFolder();
    const sql = await openEmbedded(join(await makeFolder(), 'archive.db'));
    const one = await startInstance({ folder, sql });
    for (let i = 0; i < 250; i++) await one.issue();
    await one.archive.catchUp();
    let receipts = 0;
    await underLoad(one, async () => {
      for (let i = 0; i < 3; i++) {
        for (const source of [openDataFolder(folder), one.archive.source])
          expectClean(await auditExportOf(source));
        const live = await audit(openDataFolder(folder));
        expectClean(live);
        expect(live.totals.receipts).toBeGreaterThan(receipts);
        receipts = live.totals.receipts;
      }
    });
    expect(one.failures).toEqual([]);
    await one.stop();
    await sql.close();
  }, 120_000);
});

describe('one state of a log', () => {
  /** Files whose content a test changes between two looks. */
  function growing(looks: readonly ReadonlyMap<string, Uint8Array>[]): () => InstanceFiles {
    let next = 0;
    return () => {
      const files = looks[Math.min(next, looks.length - 1)]!;
      // The first call asks for names alone.
      next++;
      return {
        instance: '0'.repeat(32),
        origin: 'localhost/vouchsafe/0',
        created: 1,
        async *paths() {
          yield* await Promise.resolve([...files.keys()].sort());
        },
        read: (path) => Promise.resolve(files.get(path)),
      };
    };
  }

  async function pathsOf(files: InstanceFiles): Promise<readonly string[]> {
    const paths: string[] = [];
    for await (const path of files.paths()) paths.push(path);
    return paths;
  }

  const file = new Uint8Array(1);
  const before = ['tile/entries/000.p/10', 'anchors/8.cbor'];
  const newer = [...before, 'anchors/20.cbor'];
  const grown = [...newer, 'tile/entries/000.p/20'];
  const of = (paths: readonly string[]) => new Map(paths.map((path) => [path, file]));

  test('leaves out what is of a larger log that a later look finds', async () => {
    const files = snapshotOf(growing([of(before), of(newer), of(grown)]));
    expect(await pathsOf(files)).toEqual([...before].sort());
  });

  test('keeps what no entries are found for: an audit has it named', async () => {
    const files = snapshotOf(growing([of(newer)]));
    expect(await pathsOf(files)).toEqual([...newer].sort());
  });

  test('has documents that were made while the entries were listed', async () => {
    const looked = of(before);
    const open = growing([looked]);
    const files = snapshotOf(() => {
      const found = open();
      return {
        ...found,
        read: (path) => Promise.resolve(path === 'evidence/0.cbor' ? file : looked.get(path)),
      };
    });
    expect(await pathsOf(files)).toContain('evidence/0.cbor');
  });
});

describe('a full journal', () => {
  test.each([
    ['whose tile is written', true],
    ['whose tile is not written', false],
  ])('%s is the bundle that it becomes', async (_, hasTile) => {
    const data = await makeFolder();
    const { directory } = await mintLog(data, { epochs: [300, 300] });
    const at = (path: string) => join(directory, path);
    await rename(at('tile/entries/001'), at('journal'));
    if (!hasTile) await rm(at('tile/0/001'));
    const [files] = await openDataFolder(data).instances();
    const paths: string[] = [];
    for await (const path of files!.paths()) paths.push(path);
    expect(paths.filter((path) => path.startsWith('tile/entries/'))).toEqual([
      'tile/entries/000',
      'tile/entries/001',
    ]);
  });
});
