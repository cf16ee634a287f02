import { describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { parseSignedStatement } from '../../../attestation/log/signedStatement.ts';
import { registrationSubject } from '../../../attestation/receipt/entryKind.ts';
import { exportArchive } from '../../../src/archive/export/exportArchive.ts';
import { createFolderSink } from '../../../src/archive/export/sinks.ts';
import { auditExport } from '../../../src/audit/audit.ts';
import type { AuditReport } from '../../../src/audit/report.ts';
import { openDataFolder } from '../../../src/export/dataFolder.ts';
import { openArchive } from '../../../src/export/open.ts';
import type { Vouching } from '../../../src/receipts/vouching.ts';
import { mintLog } from '../../support/mintedLog.ts';
import { makeFolder } from '../../support/service.ts';
import { makeIssuer } from '../../support/statements.ts';
import { contextOf, makeDraft } from '../../support/world.ts';

const issuer = makeIssuer();

async function audit(data: string, signatures: 'all' | 'covered'): Promise<AuditReport> {
  const options = { name: 'test', context: contextOf(), signatures, workers: 0, software: 'test' };
  return auditExport(await openArchive(data), options);
}

/** Receipts until a statement that is registered next has this index. */
async function fill(vouching: Vouching, position: number): Promise<void> {
  for (;;) {
    const { index } = await vouching.issue(makeDraft());
    if (index === position - 2) return;
  }
}

async function register(
  vouching: Vouching,
  entry: Uint8Array,
  announced = entry,
  act: 'statement-registered' | 'admin' = 'statement-registered',
): Promise<number> {
  const subject = registrationSubject(announced, nodeCrypto);
  return vouching.register(entry, { act, actor: 'alice', rule: 'test', subject, count: 1 });
}

function statement(): Uint8Array {
  return parseSignedStatement(issuer.sign()).entry;
}

/** The data folder of a log in which `put` puts entries before its last epoch. */
async function minted(put: (vouching: Vouching) => Promise<unknown>): Promise<string> {
  const data = await makeFolder();
  await mintLog(data, {
    epochs: [3, 5],
    acts: async (vouching) => {
      await put(vouching);
    },
  });
  return data;
}

function wrong({ findings }: AuditReport): readonly unknown[] {
  return findings.map(({ check, index, severity }) => [check, index, severity]);
}

describe('a registered statement', () => {
  test.each([254, 255, 256, 257, 258, 512])(
    'is accepted at index %i where the record before it announces it, in both modes',
    async (position) => {
      const data = await minted(async (vouching) => {
        await fill(vouching, position);
        expect(await register(vouching, statement())).toBe(position);
      });
      for (const signatures of ['all', 'covered'] as const) {
        const report = await audit(data, signatures);
        expect(wrong(report)).toEqual([]);
        expect(report.decision).toBe('accepted');
        expect(report.instances[0]!.statements).toBe(1);
      }
    },
  );

  test.each([254, 255, 256, 257])(
    'is refused at index %i where the record before it announces another one, or none',
    async (position) => {
      const announcements = [
        (vouching: Vouching) => register(vouching, statement(), statement()),
        (vouching: Vouching) => register(vouching, statement(), undefined, 'admin'),
      ];
      for (const put of announcements) {
        const data = await minted(async (vouching) => {
          await fill(vouching, position);
          await put(vouching);
        });
        for (const signatures of ['all', 'covered'] as const) {
          const report = await audit(data, signatures);
          expect(wrong(report)).toEqual([['receipts.format', position, 'fail']]);
          expect(report.decision).toBe('refused');
        }
      }
    },
  );

  test('is announced by the record right before it alone, and once', async () => {
    const again = statement();
    const data = await minted(async (vouching) => {
      const index = await register(vouching, again);
      expect(await register(vouching, again, again, 'admin')).toBe(index + 2);
    });
    expect(wrong(await audit(data, 'covered'))).toHaveLength(1);
  });

  test('takes its time from its record where a range of time is exported', async () => {
    const data = await minted(async (vouching) => {
      await fill(vouching, 256);
      await register(vouching, statement());
    });
    const out = await makeFolder();
    await exportArchive(openDataFolder(data), { from: 0, to: undefined }, await createFolderSink(out));
    expect((await audit(out, 'covered')).decision).toBe('accepted');
  });
});
