import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { openEmbedded } from '../../../src/archive/embedded.ts';
import type { AuditReport } from '../../../src/audit/report.ts';
import { startInstance, type TestInstance } from '../archive/instance.ts';
import { makeFolder } from '../../support/service.ts';
import { NOW } from '../../support/world.ts';
import { vouchsafe } from './program.ts';

const DAY_MS = 86_400_000;
const AT = ['--at', '2026-11-21T13:00:00Z'];
const ON = { VOUCHSAFE_ARCHIVE_ENABLED: 'true' };
const AUTHORITY = { actor: 'admin', rule: 'case 7' };

async function issue(instance: TestInstance, receipts: number, held = -1): Promise<void> {
  const { vouching, log } = instance;
  for (let i = 0; i < receipts; i++) await instance.issue({ tenant: i === held ? 'held' : 'a' });
  await vouching.covered(log.durableSize - 1);
}

/** A data folder with a former instance whose receipts expired but for those under a hold, and a stopped one after it. */
async function retained(): Promise<string> {
  const folder = await makeFolder();
  await mkdir(join(folder, 'archive'));
  const sql = await openEmbedded(join(folder, 'archive', 'archive.db'));
  const one = await startInstance({ folder, sql });
  await issue(one, 400);
  await issue(one, 400, 200);
  await one.archive.catchUp();
  await one.archive.administration.hold(AUTHORITY, { tenant: 'held' });
  await issue(one, 300);
  await one.stop();
  const now = NOW + 31 * DAY_MS;
  const two = await startInstance({ folder, sql, now, retention: { receiptsMaxDays: 30 } });
  const json = utf8(JSON.stringify(SIMULATED_POLICY));
  await two.archive.administration.registerPolicy(AUTHORITY, json);
  await issue(two, 20);
  await two.archive.catchUp();
  await issue(two, 5);
  await two.stop();
  await sql.close();
  return folder;
}

async function audit(path: string, ...more: readonly string[]): Promise<AuditReport> {
  const ran = await vouchsafe([
    'audit',
    path,
    '--allow-simulated',
    '--json',
    '--workers',
    '0',
    ...AT,
    ...more,
  ]);
  expect([ran.code, ran.stderr]).toEqual([0, '']);
  return JSON.parse(ran.stdout) as AuditReport;
}

function found({ findings }: AuditReport): readonly string[] {
  return [...new Set(findings.map(({ code, severity }) => `${code} ${severity}`))];
}

test('what the archive exports after expiry is audited as accepted, and the folder of the log, too', async () => {
  const data = await retained();
  const out = await makeFolder();
  for (const to of [join(out, 'export.tar'), join(out, 'folder')]) {
    const ran = await vouchsafe(['archive', 'export', '--data', data, '--out', to], ON);
    expect([ran.code, ran.stderr]).toEqual([0, '']);
    const report = await audit(to);
    expect(found(report)).toEqual(['EXPIRED note']);
    const [former, newest] = [...report.instances].sort((a, b) => a.created - b.created);
    // Bundle 0 has the opening record, 2 is under the hold, 3 has the act that placed it.
    expect(former!.missing).toEqual([
      { from: 1, to: 2 },
      { from: 4, to: 5 },
    ]);
    expect(newest!.acts.map(({ act }) => act)).toEqual(['policy-registered', 'receipts-expired']);
  }
  const policies = await readdir(join(out, 'folder', 'policies'));
  expect(policies).toHaveLength(1);
  expect(JSON.parse(await readFile(join(out, 'folder', 'policies', policies[0]!), 'utf8'))).toEqual(
    JSON.parse(JSON.stringify(SIMULATED_POLICY)),
  );

  const back = join(out, 'back');
  expect((await vouchsafe(['archive', 'import', join(out, 'export.tar'), '--data', back])).code).toBe(0);
  expect(found(await audit(back, '--signatures', 'all'))).toEqual(['EXPIRED note']);

  // The log's own folder is not touched by the archive's retention.
  expect((await vouchsafe(['archive', 'export', '--data', data, '--out', join(out, 'whole')])).code).toBe(0);
  const whole = await audit(join(out, 'whole'), '--signatures', 'all');
  expect(found(whole)).toEqual([]);
  expect(whole.totals.receipts).toBe(1125);
}, 180_000);
