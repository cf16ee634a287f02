import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { exportArchive } from '../../../src/archive/export/exportArchive.ts';
import { createFolderSink } from '../../../src/archive/export/sinks.ts';
import type { AuditReport } from '../../../src/audit/report.ts';
import { openDataFolder } from '../../../src/export/dataFolder.ts';
import { mintLog } from '../../support/mintedLog.ts';
import { makeFolder } from '../../support/service.ts';
import { vouchsafe } from '../cli/program.ts';

const AT = ['--at', '2026-11-21T13:00:00Z'];

async function exported(): Promise<string> {
  const [data, out] = [await makeFolder(), await makeFolder()];
  await mintLog(data, { epochs: [600, 300, 20] });
  await exportArchive(openDataFolder(data), { from: undefined, to: undefined }, await createFolderSink(out));
  return out;
}

describe('vouchsafe audit', () => {
  test('gives the same report with workers and without, in both modes', async () => {
    const folder = await exported();
    for (const signatures of ['covered', 'all']) {
      const reports: AuditReport[] = [];
      for (const workers of ['0', '2']) {
        const args = [
          'audit',
          folder,
          '--allow-simulated',
          '--json',
          '--signatures',
          signatures,
          '--workers',
          workers,
          ...AT,
        ];
        const { code, stdout } = await vouchsafe(args);
        expect(code).toBe(0);
        reports.push(JSON.parse(stdout) as AuditReport);
      }
      expect(reports[0]).toEqual(reports[1]);
      expect(reports[0]!.totals.receipts).toBe(920);
    }
  }, 120_000);

  test('exits by its decision, and by what cannot be read', async () => {
    const folder = await exported();
    expect((await vouchsafe(['audit', folder, ...AT])).code).toBe(2);
    expect((await vouchsafe(['audit', join(folder, 'nothing')])).code).toBe(4);
    expect((await vouchsafe(['audit', folder, '--signatures', 'some'])).code).toBe(64);
    expect((await vouchsafe(['audit', folder, '--receipt', '00'])).code).toBe(64);
    expect((await vouchsafe(['audit', folder, '--algorithm-end', 'md5=2040-01-01'])).code).toBe(64);
    expect((await vouchsafe(['audit', folder, '--algorithm-end', 'rsa=soon'])).code).toBe(64);
    const [instance] = await readdir(join(folder, 'instances'));
    const path = join(folder, 'instances', instance!, 'tile/entries/001');
    const bytes = await readFile(path);
    bytes[70_000] = bytes[70_000]! ^ 1;
    await writeFile(path, bytes);
    const { code, stdout } = await vouchsafe(['audit', folder, '--allow-simulated', ...AT]);
    expect(code).toBe(2);
    expect(stdout).toContain('TREE_MISMATCH');
  }, 120_000);
});
