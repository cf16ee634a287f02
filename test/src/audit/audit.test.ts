import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { actSubject } from '../../../attestation/receipt/record.ts';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import { exportArchive } from '../../../src/archive/export/exportArchive.ts';
import { createFolderSink } from '../../../src/archive/export/sinks.ts';
import { auditExport, type AuditOptions } from '../../../src/audit/audit.ts';
import type { AuditReport } from '../../../src/audit/report.ts';
import type { Revocations } from '../../../src/audit/revocations.ts';
import { openDataFolder } from '../../../src/export/dataFolder.ts';
import { encodeManifest, parseManifest, type ExportedInstance } from '../../../src/export/manifest.ts';
import { openArchive } from '../../../src/export/open.ts';
import { mintLog, putFile, type MintedLog, type MintOptions } from '../../support/mintedLog.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { makeFolder } from '../../support/service.ts';
import { contextOf, NOW, policyOf } from '../../support/world.ts';

const HOUR = 3_600_000;

function optionsOf(changes: Partial<AuditOptions> = {}): AuditOptions {
  return {
    name: 'test',
    context: contextOf(),
    signatures: 'covered',
    workers: 0,
    software: 'test',
    ...changes,
  };
}

async function audit(folder: string, changes: Partial<AuditOptions> = {}): Promise<AuditReport> {
  const source = await openArchive(folder);
  try {
    return await auditExport(source, optionsOf(changes));
  } finally {
    await source.close();
  }
}

interface Minted {
  readonly data: string;
  readonly log: MintedLog;
}

async function minted(options: Partial<MintOptions> = {}): Promise<Minted> {
  const data = await makeFolder();
  return { data, log: await mintLog(data, { epochs: [20, 10], ...options }) };
}

async function exported(data: string, from?: number, to?: number): Promise<string> {
  const out = await makeFolder();
  await exportArchive(openDataFolder(data), { from, to }, await createFolderSink(out));
  return out;
}

function codes({ findings }: AuditReport, severity = 'fail'): readonly string[] {
  return [...new Set(findings.filter((finding) => finding.severity === severity).map(({ code }) => code))];
}

function checkOf({ checks }: AuditReport, id: string) {
  return checks.find((check) => check.id === id)!;
}

describe('a whole export', () => {
  test('is accepted in both modes, and what was left out is its own named check', async () => {
    const { data } = await minted({ epochs: [300, 200, 30] });
    const folder = await exported(data);
    const [covered, all] = [await audit(folder), await audit(folder, { signatures: 'all' })];
    for (const report of [covered, all]) {
      expect(report.findings).toEqual([]);
      expect(report.decision).toBe('accepted');
      expect(report.simulated).toEqual(['cpu', 'gpu']);
      expect(report.tier).toBe('warning');
      expect(report.totals).toMatchObject({ instances: 1, receipts: 530, documents: 4 });
    }
    expect(checkOf(covered, 'receipts.signatures')).toMatchObject({
      result: 'skip',
      code: 'COVERED_BY_EPOCH_ROOT',
    });
    expect(checkOf(all, 'receipts.signatures')).toMatchObject({ result: 'pass' });
    // Records are always verified.
    expect(covered.totals.signatures).toBe(all.totals.signatures - 530);
  });

  test('gives the same verdict from the data folder, where the open bundle is in the journal', async () => {
    const { data } = await minted({ epochs: [300, 30] });
    const report = await audit(data);
    expect(report.decision).toBe('accepted');
    expect(report.totals.receipts).toBe(330);
    expect(checkOf(report, 'export.files').result).toBe('skip');
  });

  test('receipts that no document covers are verified one by one, and said', async () => {
    const { data } = await minted({ epochs: [20, 10], final: false });
    const report = await audit(data);
    expect(report.decision).toBe('accepted');
    expect(codes(report, 'warning')).toEqual(['RECEIPTS_UNCOVERED']);
    // Ten receipts, the opening and one epoch record.
    expect(report.totals.signatures).toBe(12);
    const required = await audit(data, {
      context: contextOf({ policy: policyOf({ coverage: 'required' }) }),
    });
    expect(codes(required)).toEqual(['RECEIPTS_UNCOVERED']);
  });

  test('an export without an instance proves nothing and is refused', async () => {
    const data = await makeFolder();
    await mkdir(join(data, 'instances'));
    expect((await audit(data)).decision).toBe('refused');
  });

  test('evidence that the policy refuses covers nothing: the signatures are verified then', async () => {
    const { data } = await minted();
    const report = await audit(data, { context: contextOf({ policy: policyOf({ simulated: [] }) }) });
    expect(report.decision).toBe('refused');
    expect(codes(report)).toContain('SIMULATED_HARDWARE');
    expect(report.totals.signatures).toBeGreaterThanOrEqual(30);
    expect(checkOf(report, 'receipts.signatures').result).toBe('pass');
  });

  test('evidence without its collateral is not judged', async () => {
    const { data, log } = await minted();
    await rm(join(log.directory, 'collateral'), { recursive: true });
    const report = await audit(data);
    expect(report.decision).not.toBe('accepted');
  });
});

describe('an altered export', () => {
  test(
    'is refused for any flipped byte of its entries, tiles, checkpoint and documents, in the fast mode',
    async () => {
      const { data, log } = await minted({ epochs: [300, 20] });
      const folder = await exported(data);
      const directory = join(folder, 'instances', log.instance);
      const listed = await readdir(directory, { recursive: true, withFileTypes: true });
      const paths = listed
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name));
      const property = fc.asyncProperty(
        fc.nat(paths.length - 1),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.integer({ min: 1, max: 255 }),
        async (file, place, by) => {
          const path = paths[file]!;
          const before = await readFile(path);
          const altered = Buffer.from(before);
          const at = Math.floor(place * before.length);
          altered[at] = altered[at]! ^ by;
          await writeFile(path, altered);
          try {
            expect((await audit(folder)).decision).toBe('refused');
          } finally {
            await writeFile(path, before);
          }
        },
      );
      await fc.assert(property, propertyRuns(20));
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'one claim in a log of a data folder, without any manifest, is found wherever it stands',
    async () => {
      const { data, log } = await minted({ epochs: [300, 20] });
      const path = join(log.directory, 'tile/entries/000');
      const before = await readFile(path);
      const property = fc.asyncProperty(
        fc.nat(before.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (at, by) => {
          const altered = Buffer.from(before);
          altered[at] = altered[at]! ^ by;
          await writeFile(path, altered);
          const report = await audit(data);
          expect(report.decision).toBe('refused');
          expect(codes(report)).toContain('TREE_MISMATCH');
        },
      );
      await fc.assert(property, propertyRuns(12));
      await writeFile(path, before);
    },
    PROPERTY_TIMEOUT,
  );

  test('a bundle that was taken away is named', async () => {
    const { data, log } = await minted({ epochs: [600] });
    await rm(join(log.directory, 'tile/entries/001'));
    const report = await audit(data);
    expect(codes(report)).toEqual(['ENTRY_MISSING']);
    expect(report.findings.find(({ code }) => code === 'ENTRY_MISSING')).toMatchObject({
      index: 256,
      last: 511,
    });
  });

  test('a log whose end was cut off is named', async () => {
    const { data, log } = await minted({ epochs: [300, 100] });
    await writeFile(join(log.directory, 'journal'), '');
    await rm(join(log.directory, 'tile/0/001.p'), { recursive: true });
    expect(codes(await audit(data))).toContain('LOG_TRUNCATED');
  });

  test('two receipts that changed places are found', async () => {
    const { data, log } = await minted();
    const journal = await readFile(join(log.directory, 'journal'));
    const { parseBundle, encodeBundle, bundleEnds } = await import('../../../attestation/log/tiles.ts');
    const entries = [...parseBundle(journal, bundleEnds(journal).length)];
    [entries[3], entries[4]] = [entries[4]!, entries[3]!];
    await writeFile(join(log.directory, 'journal'), encodeBundle(entries));
    expect(codes(await audit(data))).toEqual(expect.arrayContaining(['INDEX_MISMATCH', 'TREE_MISMATCH']));
  });

  test('a document that was taken out of the line is named', async () => {
    const { data, log } = await minted({ epochs: [5, 5, 5] });
    await rm(join(log.directory, 'evidence/1.cbor'));
    expect(codes(await audit(data))).toEqual(expect.arrayContaining(['EVIDENCE_GAP', 'EVIDENCE_UNKNOWN']));
  });

  test('a document of another instance is refused', async () => {
    const { data, log } = await minted();
    const other = await minted();
    await cp(join(other.log.directory, 'evidence/1.cbor'), join(log.directory, 'evidence/1.cbor'));
    expect(codes(await audit(data))).toContain('KEYSET_MISMATCH');
  });

  test('the checkpoint of another log is refused', async () => {
    const { data, log } = await minted();
    const other = await minted();
    await cp(join(other.log.directory, 'checkpoint'), join(log.directory, 'checkpoint'));
    expect(codes(await audit(data))).toContain('CHECKPOINT_MISMATCH');
  });
});

describe('the line of instances', () => {
  async function twoInstances(change: Partial<MintOptions> = {}) {
    const data = await makeFolder();
    const first = await mintLog(data, { epochs: [300, 20] });
    const second = await mintLog(data, {
      epochs: [10],
      created: 2,
      predecessor: first.asPredecessor,
      ...change,
    });
    return { data, first, second };
  }

  test('is walked by the open records', async () => {
    const { data } = await twoInstances();
    const report = await audit(await exported(data));
    expect(report.findings).toEqual([]);
    expect(report.totals.instances).toBe(2);
  });

  test('an absent predecessor is named', async () => {
    const { data, first } = await twoInstances();
    await rm(first.directory, { recursive: true });
    expect(codes(await audit(data), 'warning')).toContain('PREDECESSOR_ABSENT');
  });

  test('an instance that names none although there is an earlier one is named', async () => {
    const data = await makeFolder();
    await mintLog(data, { epochs: [5] });
    await mintLog(data, { epochs: [5], created: 2 });
    expect(codes(await audit(data), 'warning')).toContain('INSTANCE_UNLINKED');
  });

  test('two successors of one instance are a fork', async () => {
    const { data, first } = await twoInstances();
    await mintLog(data, { epochs: [5], created: 3, predecessor: first.asPredecessor });
    expect(codes(await audit(data))).toEqual(['INSTANCE_FORK']);
  });

  test('a predecessor that is shorter than it was seen is named', async () => {
    const { data, first } = await twoInstances();
    await writeFile(join(first.directory, 'journal'), '');
    await rm(join(first.directory, 'tile/0/001.p'), { recursive: true });
    await rm(join(first.directory, 'checkpoint'));
    expect(codes(await audit(data))).toContain('PREDECESSOR_TRUNCATED');
  });

  test('a predecessor that went on after it was seen is named', async () => {
    const data = await makeFolder();
    const first = await mintLog(data, { epochs: [20, 20, 20] });
    const earlier = { ...first.asPredecessor, checkpoint: first.log.checkpoints[0]! };
    await mintLog(data, { epochs: [5], created: 2, predecessor: earlier });
    expect(codes(await audit(data), 'warning')).toContain('PREDECESSOR_CONTINUED');
  });

  test('a checkpoint that the predecessor never signed is refused', async () => {
    const data = await makeFolder();
    const [first, other] = [await mintLog(data, { epochs: [5] }), (await minted()).log];
    const forged = { ...first.asPredecessor, checkpoint: other.asPredecessor.checkpoint };
    await mintLog(data, { epochs: [5], created: 2, predecessor: forged });
    expect(codes(await audit(data))).toEqual(['PREDECESSOR_REPLACED']);
  });
});

describe('a time range', () => {
  /** Takes the oldest or the newest document out of an export whose manifest then knows of none such. */
  async function withoutDocument(
    folder: string,
    { instance }: MintedLog,
    which: 'first' | 'last',
  ): Promise<ExportedInstance> {
    const path = join(folder, 'manifest.json');
    const manifest = parseManifest(await readFile(path));
    const described = manifest.instances[0]!;
    const [first, last] = described.documents!;
    const seq = which === 'first' ? first : last;
    const isLeftOut = (file: { readonly path: string }) =>
      file.path.startsWith(`instances/${instance}/evidence/${seq}.`);
    for (const file of manifest.files.filter(isLeftOut)) await rm(join(folder, file.path));
    const documents: [number, number] = which === 'first' ? [first + 1, last] : [first, last - 1];
    const files = manifest.files.filter((file) => !isLeftOut(file));
    await writeFile(path, encodeManifest({ ...manifest, instances: [{ ...described, documents }], files }));
    return described;
  }

  test('holds whole epochs, is accepted, and says what it is', async () => {
    const { data } = await minted({ epochs: Array<number>(12).fill(100), stepMs: HOUR / 100 });
    const folder = await exported(data, NOW + 5 * HOUR, NOW + 6 * HOUR);
    const report = await audit(folder);
    expect(codes(report)).toEqual([]);
    expect(report.decision).toBe('accepted');
    expect(report.totals.receipts).toBeLessThan(1100);
    expect(report.totals.receipts).toBeGreaterThanOrEqual(200);
    expect(report.source.range).toEqual({
      from: new Date(NOW + 5 * HOUR).toISOString(),
      to: new Date(NOW + 6 * HOUR).toISOString(),
    });
  });

  // Runs of receipts that cite the former document end within a bundle, and go over several.
  test.each([40, 300])(
    'of an instance that issues %i receipts while it collects a document holds what they cite, and is accepted',
    async (whileCollecting) => {
      const [epochs, receipts] = whileCollecting === 40 ? [6, 60] : [4, 20];
      const { data } = await minted({
        epochs: Array<number>(epochs).fill(receipts),
        stepMs: HOUR / 100,
        whileCollecting,
      });
      for (let from = 0; from < (epochs * (receipts + whileCollecting)) / 100; from++) {
        const folder = await exported(data, NOW + from * HOUR, NOW + (from + 1) * HOUR);
        const report = await audit(folder, { signatures: 'all' });
        expect(report.findings).toEqual([]);
        expect(report.decision).toBe('accepted');
      }
    },
    60_000,
  );

  test('of a busy instance without the oldest document that its entries cite is refused', async () => {
    const { data, log } = await minted({
      epochs: Array<number>(8).fill(60),
      stepMs: HOUR / 100,
      whileCollecting: 40,
    });
    const folder = await exported(data, NOW + 4 * HOUR, NOW + 5 * HOUR);
    const { entries } = await withoutDocument(folder, log, 'first');
    const report = await audit(folder);
    expect(report.decision).toBe('refused');
    expect(codes(report)).toEqual(['EVIDENCE_UNKNOWN']);
    const [start] = entries!;
    expect(report.findings.find(({ code }) => code === 'EVIDENCE_UNKNOWN')!.index).toBeGreaterThanOrEqual(
      start,
    );
  });

  test('up to the newest entries judges those that no document covers yet', async () => {
    const { data, log } = await minted({
      epochs: Array<number>(6).fill(60),
      stepMs: HOUR / 100,
      whileCollecting: 40,
      final: false,
    });
    const whole = await audit(await exported(data));
    const folder = await exported(data, NOW + 4 * HOUR);
    const report = await audit(folder);
    expect(report.decision).toBe('accepted');
    expect(codes(report, 'warning')).toEqual(['RECEIPTS_UNCOVERED']);
    const uncovered = ({ findings }: AuditReport) =>
      findings.find(({ code }) => code === 'RECEIPTS_UNCOVERED');
    expect(uncovered(report)).toMatchObject({ index: uncovered(whole)!.index, last: uncovered(whole)!.last });
    // The newest document is cited by the newest entries alone.
    await withoutDocument(folder, log, 'last');
    expect(codes(await audit(folder))).toContain('EVIDENCE_UNKNOWN');
  });

  test('that holds nothing still ties to the log', async () => {
    const { data } = await minted({ epochs: [600, 10] });
    const report = await audit(await exported(data, NOW + 100 * HOUR));
    expect(codes(report)).toEqual([]);
  });

  test('a bundle of the span that is missing is named', async () => {
    const { data, log } = await minted({ epochs: Array<number>(12).fill(100), stepMs: HOUR / 100 });
    const folder = await exported(data, NOW + 5 * HOUR, NOW + 6 * HOUR);
    await rm(join(folder, 'instances', log.instance, 'tile/entries/002'));
    expect(codes(await audit(folder))).toContain('ENTRY_MISSING');
  });
});

describe('retention', () => {
  async function expire(named: (instance: string) => string) {
    const data = await makeFolder();
    const ids: Uint8Array[] = [];
    const log = await mintLog(data, {
      epochs: [600, 10],
      acts: async (vouching) => {
        ids.push(utf8(named(toHex(parseDocument(vouching.head.encoded).keyset.instance))));
        const subject = actSubject(ids, nodeCrypto);
        await vouching.recordAct({
          act: 'receipts-expired',
          actor: 'retention',
          rule: '6 months',
          subject,
          count: 256,
        });
      },
    });
    await rm(join(log.directory, 'tile/entries/001'));
    await putFile(join(log.directory, 'acts', `${toHex(actSubject(ids, nodeCrypto))}.cbor`), encodeDc(ids));
    return { data, log };
  }

  test('entries that an act names as expired are accepted as such, and the tree still holds', async () => {
    const { data } = await expire((instance) => `${instance}/entries/1`);
    const report = await audit(data);
    expect(codes(report)).toEqual([]);
    expect(codes(report, 'note')).toEqual(['EXPIRED']);
    expect(report.decision).toBe('accepted');
    expect((await audit(await exported(data))).decision).toBe('accepted');
  });

  test('entries that no act names are missing, whatever lies beside the log', async () => {
    const { data } = await expire((instance) => `${instance}/entries/2`);
    expect(codes(await audit(data))).toEqual(['ENTRY_MISSING']);
  });

  test('ids that are not those of the act name nothing', async () => {
    const { data, log } = await expire((instance) => `${instance}/entries/2`);
    const [name] = await readdir(join(log.directory, 'acts'));
    await writeFile(join(log.directory, 'acts', name!), encodeDc([utf8(`${log.instance}/entries/1`)]));
    expect(codes(await audit(data))).toEqual(['ENTRY_MISSING']);
  });

  test('entries whose hashes are gone, too, leave a log that cannot be judged further', async () => {
    const { data, log } = await expire((instance) => `${instance}/entries/1`);
    await rm(join(log.directory, 'tile/0/001'));
    await rm(join(log.directory, 'tile/1'), { recursive: true });
    expect(codes(await audit(data))).toContain('FILE_MISSING');
  });
});

describe('known bad since', () => {
  const since = new Date(NOW + HOUR).toISOString();
  const listOf = (...entries: Revocations['entries']): Revocations => ({
    format: 'vouchsafe/revocations/1',
    entries,
  });

  test('names the receipts of a model, a CPU, a device and a key, and leaves the decision as it is', async () => {
    const bad = new Uint8Array(32).fill(0xbd);
    const { data } = await minted({
      epochs: [20, 10],
      draft: (i) =>
        i === 7 || i === 8
          ? { model: { id: 'bad', manifestDigest: bad, providers: ['CPUExecutionProvider'] } }
          : {},
    });
    const plain = await audit(data);
    const { facts } = plain.instances[0]!.documents[0]!;
    const report = await audit(data, {
      revocations: listOf(
        { kind: 'model', manifest: toHex(bad), since, reason: 'backdoor' },
        { kind: 'cpu', id: facts.machine!, since, reason: 'leaked' },
        { kind: 'device', serial: facts.devices[0]!.serial, since, reason: 'leaked' },
        { kind: 'device', ueid: BigInt(`0x${facts.devices[0]!.serial}`).toString(), since, reason: 'leaked' },
        { kind: 'vbios', version: facts.devices[0]!.firmware, since, reason: 'advisory' },
        { kind: 'receipt-key', thumbprint: facts.receiptKey, since, reason: 'leaked' },
        { kind: 'cpu', id: 'ab'.repeat(64), since, reason: 'another' },
      ),
    });
    expect(report.decision).toBe(plain.decision);
    expect(report.knownBad.map(({ entry, receipts }) => [entry, receipts])).toEqual([
      [0, 2],
      [1, 30],
      [2, 30],
      [3, 30],
      [4, 30],
      [5, 30],
    ]);
    expect(report.knownBad[0]).toMatchObject({ first: 8, last: 9, when: 'unknown' });
  });

  test('a policy with a higher minimum names the epochs of older firmware', async () => {
    const { data } = await minted();
    const policy = structuredClone(contextOf().policy);
    const snp = policy.cpu.snp;
    if (snp === 'refused') throw new Error('the policy takes SNP');
    const levels = { cpuid: 'any', bootloader: 255, tee: 255, snp: 255, microcode: 255 } as const;
    const reported = [
      { product: 'milan', ...levels },
      { product: 'genoa', ...levels },
      { product: 'turin', fmc: 255, ...levels },
    ] as const;
    const stricter = {
      ...policy,
      cpu: { ...policy.cpu, snp: { ...snp, minimumTcb: { ...snp.minimumTcb, reported: [...reported] } } },
    };
    const report = await audit(data, {
      revocations: listOf({ kind: 'tcb', policy: stricter, since, reason: 'advisory' }),
    });
    expect(report.knownBad.map(({ receipts }) => receipts)).toEqual([30]);
    expect(report.decision).toBe('accepted');
  });
});

describe('an audit that was stopped', () => {
  test('goes on from its state file to the same report, and refuses that of another', async () => {
    const { data } = await minted({ epochs: [4200, 20] });
    const folder = await exported(data);
    const stateFile = join(await makeFolder(), 'state');
    const whole = await audit(folder);
    const { writeState, STATE_FORMAT, bindingOf } = await import('../../../src/audit/state.ts');
    await writeState(stateFile, {
      format: STATE_FORMAT,
      binding: bindingOf({}),
      now: NOW,
      done: [],
      current: undefined,
    });
    await expect(audit(folder, { stateFile })).rejects.toMatchObject({ code: 'AUDIT_STATE_MISMATCH' });
    await writeFile(stateFile, '{"format":');
    await expect(audit(folder, { stateFile })).rejects.toMatchObject({ code: 'AUDIT_STATE_MALFORMED' });
    await rm(stateFile);
    // Bundles are read in groups of 8: it stops in the third, after the state of the second was saved.
    const source = await openArchive(folder);
    const stopping = {
      ...source,
      instances: async () =>
        (await source.instances()).map((files) => ({
          ...files,
          locate: undefined,
          read: async (path: string) => {
            if (path.startsWith('tile/entries/016')) throw new Error('stopped');
            return files.read(path);
          },
        })),
    };
    await expect(auditExport(stopping, optionsOf({ stateFile, saveEveryMs: 0 }))).rejects.toThrow('stopped');
    expect(JSON.parse(await readFile(stateFile, 'utf8'))).toMatchObject({
      current: { progress: { bundles: 16 } },
    });
    const report = await audit(folder, { stateFile, saveEveryMs: 0 });
    expect(report.instances).toEqual(whole.instances);
    expect(report.decision).toBe('accepted');
    await expect(readFile(stateFile)).rejects.toThrow('ENOENT');
  });
});
