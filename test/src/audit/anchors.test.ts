import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import { encodeAnchor } from '../../../attestation/log/anchor.ts';
import { parseCheckpoint } from '../../../attestation/log/checkpoint.ts';
import { parseNote } from '../../../attestation/log/note.ts';
import { exportArchive } from '../../../src/archive/export/exportArchive.ts';
import { createFolderSink } from '../../../src/archive/export/sinks.ts';
import { auditExport } from '../../../src/audit/audit.ts';
import type { AuditReport } from '../../../src/audit/report.ts';
import type { Revocations } from '../../../src/audit/revocations.ts';
import { openDataFolder } from '../../../src/export/dataFolder.ts';
import { openArchive } from '../../../src/export/open.ts';
import { mintLog, putFile, type MintedLog } from '../../support/mintedLog.ts';
import { makeFolder } from '../../support/service.ts';
import { timestampAuthority } from '../../support/timestampAuthority.ts';
import { contextOf, NOW, policyOf } from '../../support/world.ts';

const HOUR = 3_600_000;
const YEARS = 10 * 365 * 24 * HOUR;

interface Anchored {
  readonly data: string;
  readonly log: MintedLog;
}

/** A token means its second at the latest. A log of which an authority saw each checkpoint an hour after the one before. */
async function anchored(tamper: (note: Uint8Array) => Uint8Array = (note) => note): Promise<Anchored> {
  const data = await makeFolder();
  const log = await mintLog(data, { epochs: [10, 10, 10, 10] });
  for (const [i, note] of log.log.checkpoints.entries()) {
    const { signedBytes, text } = parseNote(note);
    const token = timestampAuthority().token(signedBytes, NOW + i * HOUR);
    const { size } = parseCheckpoint(text);
    await putFile(
      join(log.directory, `anchors/${size}.cbor`),
      encodeAnchor({ note: tamper(note), tokens: [token] }),
    );
  }
  return { data, log };
}

async function audit(
  data: string,
  now: number,
  trusted: boolean,
  revocations?: Revocations,
): Promise<AuditReport> {
  const anchors = trusted ? [...DEFAULT_ANCHORS, timestampAuthority().anchor] : DEFAULT_ANCHORS;
  const context = contextOf({ now, anchors });
  const source = await openArchive(data);
  return auditExport(source, {
    name: 'test',
    context,
    signatures: 'covered',
    revocations,
    workers: 0,
    software: 'test',
  });
}

describe('anchors of trusted authorities', () => {
  test('date the documents: each is judged when the log named it, with the collateral of its day', async () => {
    const { data } = await anchored();
    const report = await audit(data, NOW + YEARS, true);
    const [own] = report.instances;
    expect(own!.anchors.length).toBeGreaterThanOrEqual(3);
    expect(own!.documents[0]!.facts).toMatchObject({ decision: 'accepted', judgedAt: NOW + HOUR + 1000 });
    expect(own!.documents[1]!.upper!.time).toBe(NOW + 2 * HOUR + 1000);
    // What nobody saw after it is judged now, when the vendors' statements are out of date.
    expect(own!.documents.at(-1)!.upper).toBeUndefined();
    expect(own!.documents.at(-1)!.facts.decision).not.toBe('accepted');
    const untrusting = await audit(data, NOW + YEARS, false);
    expect(untrusting.instances[0]!.documents[0]!.facts.decision).not.toBe('accepted');
  });

  test('date the documents of an exported time range, and what lies outside it is no matter', async () => {
    const data = await makeFolder();
    const log = await mintLog(data, {
      epochs: Array<number>(12).fill(100),
      stepMs: HOUR / 100,
      whileCollecting: 40,
    });
    for (const [i, note] of log.log.checkpoints.entries()) {
      const token = timestampAuthority().token(parseNote(note).signedBytes, NOW + i * HOUR);
      const { size } = parseCheckpoint(parseNote(note).text);
      await putFile(join(log.directory, `anchors/${size}.cbor`), encodeAnchor({ note, tokens: [token] }));
    }
    const folder = await makeFolder();
    const range = { from: NOW + 7 * HOUR, to: NOW + 8 * HOUR };
    await exportArchive(openDataFolder(data), range, await createFolderSink(folder));
    const report = await audit(folder, NOW + YEARS, true);
    expect(report.findings.map(({ code }) => code)).toEqual([]);
    expect(report.decision).toBe('accepted');
    const [own] = report.instances;
    expect(own!.documents.length).toBeGreaterThanOrEqual(3);
    for (const document of own!.documents) expect(document.upper).toBeDefined();
  });

  test('of a checkpoint that the log did not sign prove no time', async () => {
    const { data } = await anchored((note) =>
      Buffer.from(
        Buffer.from(note)
          .toString('utf8')
          .replace(/^— (\S+) .*$/m, '— $1 AAAAAAAA'),
      ),
    );
    const report = await audit(data, NOW + HOUR, true);
    expect(report.instances[0]!.anchors).toEqual([]);
    expect(report.findings.map(({ code }) => code)).toContain('ANCHOR_INVALID');
  });

  test('say which receipts were there before something became known', async () => {
    const { data } = await anchored();
    const { machine } = (await audit(data, NOW, true)).instances[0]!.documents[0]!.facts;
    const since = new Date(NOW + 1.5 * HOUR).toISOString();
    const entries = [{ kind: 'cpu' as const, id: machine!, since, reason: 'leaked' }];
    const report = await audit(data, NOW, true, { format: 'vouchsafe/revocations/1', entries });
    expect(report.knownBad.map(({ when }) => when)).toEqual(['before', 'after']);
    const [before, after] = report.knownBad;
    expect(before!.last + 1).toBe(after!.first);
    expect(before!.receipts + after!.receipts).toBe(40);
  });

  test('that the policy demands and that are not there refuse', async () => {
    const data = await makeFolder();
    await mintLog(data, { epochs: [5, 5] });
    const policy = policyOf({ timestamps: { authorities: [], required: true } });
    const source = await openArchive(data);
    const options = { name: 'test', signatures: 'covered', workers: 0, software: 'test' } as const;
    const report = await auditExport(source, { ...options, context: contextOf({ policy }) });
    expect(report.decision).toBe('refused');
    expect(report.findings.map(({ code }) => code)).toContain('TIMESTAMP_MISSING');
  });
});
