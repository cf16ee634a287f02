import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { encodeKeyset, keysetDigest, type Keyset } from '../../../attestation/keyset.ts';
import { createSimulatedCollector } from '../../../enclave/collect/simulated/collector.ts';
import { exportArchive } from '../../../src/archive/export/exportArchive.ts';
import { createFolderSink } from '../../../src/archive/export/sinks.ts';
import { auditExport } from '../../../src/audit/audit.ts';
import { readLine } from '../../../src/audit/evidenceLine.ts';
import { FindingList } from '../../../src/audit/findings.ts';
import type { ListedInstance } from '../../../src/audit/instanceFiles.ts';
import { openDataFolder } from '../../../src/export/dataFolder.ts';
import { openArchive } from '../../../src/export/open.ts';
import { collectDocument, type EvidenceHead } from '../../../src/receipts/evidence.ts';
import { mintLog, type MintOptions } from '../../support/mintedLog.ts';
import { makeFolder } from '../../support/service.ts';
import { contextOf, makeKeysetLine, NOW } from '../../support/world.ts';

const HOUR = 3_600_000;

async function audit(folder: string, signatures: 'all' | 'covered') {
  const source = await openArchive(folder);
  try {
    return await auditExport(source, {
      name: 'test',
      context: contextOf({ now: NOW + 200 * HOUR }),
      signatures,
      workers: 0,
      software: 'test',
    });
  } finally {
    await source.close();
  }
}

/** Keys change twice before the last epoch. */
async function rotated(options: Partial<MintOptions> = {}): Promise<string> {
  const data = await makeFolder();
  await mintLog(data, {
    epochs: [300, 20, 30],
    acts: async (vouching) => {
      await vouching.rotateKeys();
      await vouching.rotateKeys();
    },
    ...options,
  });
  return data;
}

async function exported(data: string, from?: number, to?: number): Promise<string> {
  const out = await makeFolder();
  await exportArchive(openDataFolder(data), { from, to }, await createFolderSink(out));
  return out;
}

describe('an audit across rotations', () => {
  test.each(['all', 'covered'] as const)(
    'is clean for a whole export, signatures: %s',
    async (signatures) => {
      const report = await audit(await exported(await rotated()), signatures);
      expect(report.findings).toEqual([]);
      expect(report.decision).toBe('accepted');
      expect(report.totals).toMatchObject({ receipts: 350, documents: 6 });
    },
  );

  test('is clean where receipts of the new keys stay uncovered', async () => {
    const report = await audit(await exported(await rotated({ final: false })), 'covered');
    expect(report.findings.map(({ code }) => code)).toEqual(['RECEIPTS_UNCOVERED', 'TAIL_UNSIGNED']);
    expect(report.decision).toBe('accepted');
  });

  test.each([0, 40])(
    'is clean for exports of time ranges before, over and after it, under a load of %i',
    async (load) => {
      const data = await rotated({ stepMs: HOUR / 10, whileCollecting: load });
      for (const [from, to] of [
        [NOW, NOW + 5 * HOUR],
        [NOW + 29 * HOUR, NOW + 34 * HOUR],
        [NOW + 33 * HOUR, NOW + 40 * HOUR],
        [NOW + 38 * HOUR, NOW + 41 * HOUR],
        [NOW + 42 * HOUR, NOW + 44 * HOUR],
      ]) {
        const report = await audit(await exported(data, from, to), 'all');
        expect(report.findings.filter(({ severity }) => severity === 'fail')).toEqual([]);
        expect(report.decision).toBe('accepted');
      }
    },
  );
});

describe('a line of documents whose keysets do not follow each other', () => {
  /** Documents of these keysets, chained as an instance would. */
  async function findingsFor(keysets: readonly Keyset[]): Promise<readonly string[]> {
    const source = await createSimulatedCollector({ gpus: 0, now: () => new Date(NOW) });
    const heads: EvidenceHead[] = [];
    for (const [seq, keyset] of keysets.entries()) {
      const { head } = await collectDocument(source, {
        keyset,
        keysetDigest: keysetDigest(encodeKeyset(keyset), nodeCrypto),
        seq,
        final: false,
        nonces: [],
        log: { size: 0, root: nodeCrypto.hash('sha256', new Uint8Array(0)) },
        previous: heads.at(-1)?.digest,
      });
      heads.push(head);
    }
    const [first] = keysets;
    const files = {
      instance: toHex(first!.instance),
      origin: first!.origin,
      read: (path: string) => Promise.resolve(heads[Number(/\d+/.exec(path)?.[0])]?.encoded),
    };
    const listed = { files, documents: heads.map(({ seq }) => seq) } as unknown as ListedInstance;
    const findings = new FindingList(files.instance);
    await readLine(listed, undefined, findings);
    return findings.listed.map(({ code, seq }) => `${code} ${seq ?? ''}`);
  }

  test('is found: left out, not named, named wrongly, back to the former', async () => {
    const line = await makeKeysetLine();
    const keysets = [line.keyset];
    for (let i = 0; i < 2; i++) keysets.push((await line.next(), line.enter(), line.keyset));
    const [zero, one, two] = keysets as [Keyset, Keyset, Keyset];
    expect(await findingsFor([zero, zero, one, one, two])).toEqual([]);
    expect(await findingsFor([zero, two])).toEqual(['KEYSET_MISMATCH 1']);
    expect(await findingsFor([zero, { ...one, previous: new Uint8Array(32) }])).toEqual([
      'KEYSET_MISMATCH 1',
    ]);
    expect(await findingsFor([zero, { ...one, generation: 2 }])).toEqual(['KEYSET_MISMATCH 1']);
    expect(await findingsFor([zero, { ...zero, notAfter: 1 }])).toEqual(['KEYSET_MISMATCH 1']);
    expect(await findingsFor([zero, one, zero])).toEqual(['KEYSET_MISMATCH 2']);
  });
});
