import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import type { AlgorithmEnds } from '../../../attestation/archive/renewalTimestamp.ts';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import { exportArchive } from '../../../src/archive/export/exportArchive.ts';
import { importArchive } from '../../../src/archive/export/importArchive.ts';
import { createFolderSink } from '../../../src/archive/export/sinks.ts';
import { renewArchive } from '../../../src/archive/renewal/renew.ts';
import { auditExport } from '../../../src/audit/audit.ts';
import { htmlReport } from '../../../src/audit/html/htmlReport.ts';
import type { AuditReport } from '../../../src/audit/report.ts';
import { openDataFolder } from '../../../src/export/dataFolder.ts';
import { openArchive, openExportAt } from '../../../src/export/open.ts';
import { encodeManifest, type ExportManifest } from '../../../src/export/manifest.ts';
import { mintLog } from '../../support/mintedLog.ts';
import { makeFolder } from '../../support/service.ts';
import { timestampAuthority } from '../../support/timestampAuthority.ts';
import { contextOf, NOW } from '../../support/world.ts';

const HOUR = 3_600_000;
const LATER = NOW + HOUR;

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function authority(): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = timestampAuthority().answer(Buffer.concat(chunks), LATER);
      response.writeHead(200, { 'content-type': 'application/timestamp-reply' }).end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

/** A data folder of a stopped instance that was renewed twice. */
async function renewed(): Promise<string> {
  const data = await makeFolder();
  await mintLog(data, { epochs: [300, 20], stepMs: HOUR / 1000 });
  const url = await authority();
  for (const timestampsOnly of [false, true]) {
    await renewArchive({
      data,
      hash: 'sha512',
      timestampsOnly,
      authorities: [url],
      anchors: undefined,
      now: () => LATER,
      signal: new AbortController().signal,
      onFile: () => undefined,
    });
  }
  return data;
}

async function exported(data: string, from?: number): Promise<string> {
  const out = await makeFolder();
  await exportArchive(openDataFolder(data), { from, to: undefined }, await createFolderSink(out));
  return out;
}

async function audit(folder: string, isTrusting = true, algorithmEnds?: AlgorithmEnds): Promise<AuditReport> {
  const anchors = [...DEFAULT_ANCHORS, ...(isTrusting ? [timestampAuthority().anchor] : [])];
  const context = contextOf({ now: LATER + HOUR, anchors });
  const options = { name: 'test', context, signatures: 'covered', workers: 0, software: 'test' } as const;
  return auditExport(await openArchive(folder), { ...options, algorithmEnds });
}

function resultOf({ checks, findings }: AuditReport): readonly unknown[] {
  const check = checks.find(({ id }) => id === 'archive.renewals')!;
  const own = findings.filter((finding) => finding.check === 'archive.renewals');
  return [check.result, check.code, own.map(({ code, severity }) => `${code} ${severity}`)];
}

/** Replaces a file of an export, and what its manifest says of it. */
async function replace(folder: string, path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(join(folder, path), bytes);
  const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as ExportManifest;
  const { createHash } = await import('node:crypto');
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const files = manifest.files.map((file) =>
    file.path === path ? { path, size: bytes.length, sha256 } : file,
  );
  await writeFile(join(folder, 'manifest.json'), encodeManifest({ ...manifest, files }));
}

test('renewals go with an export and are verified over its files', async () => {
  const folder = await exported(await renewed());
  const report = await audit(folder);
  expect(resultOf(report)).toEqual(['pass', 'OK', []]);
  expect(report.decision).toBe('accepted');
  expect(report.renewals?.renewals.map(({ kind, standing }) => [kind, standing])).toEqual([
    ['hash-tree', true],
    ['timestamp', true],
  ]);
  const [instance] = report.instances;
  const segment = report.renewals?.segments.find(({ name }) => name === instance!.instance);
  expect(segment).toMatchObject({ changed: 0, missing: 0, uncovered: 0 });
  expect(segment!.since).toBeGreaterThanOrEqual(LATER);
  expect(htmlReport(report)).toContain(
    new Date(segment!.since!).toISOString().slice(0, 16).replace('T', ' '),
  );
});

test('a hash that was broken before it is judged makes a renewal late', async () => {
  const folder = await exported(await renewed());
  const late = await audit(folder, true, { sha256: LATER, sha512: LATER + HOUR / 2 });
  const [result, code, found] = resultOf(late);
  expect([result, code]).toEqual(['skip', 'RENEWAL_LATE']);
  expect(found).toContain('RENEWAL_LATE warning');
  expect(resultOf(await audit(folder, true, { sha512: LATER + 2 * HOUR }))).toEqual(['pass', 'OK', []]);
});

test('an import has them, and an archive without them is said to have none', async () => {
  const folder = await exported(await renewed());
  const back = await makeFolder();
  await importArchive(await openExportAt(folder), back);
  expect(resultOf(await audit(back))).toEqual(['pass', 'OK', []]);
  await rm(join(back, 'renewals'), { recursive: true });
  const report = await audit(back);
  expect(resultOf(report)).toEqual(['skip', 'NOT_REQUIRED', []]);
  expect(report.renewals).toBeUndefined();
});

test('an export without members of an earlier state has none of its renewals', async () => {
  const data = await renewed();
  const folder = await exported(data);
  await rm(join(data, 'renewals'), { recursive: true });
  await exportArchive(
    openDataFolder(data),
    { from: undefined, to: undefined },
    await createFolderSink(folder),
  );
  expect(await readdir(join(folder, 'renewals'))).toEqual([]);
});

test('a file that is not as it was renewed refuses, whatever the manifest says', async () => {
  const folder = await exported(await renewed());
  const [instance] = await readdir(join(folder, 'instances'));
  await replace(folder, `instances/${instance!}/created`, Buffer.from('2\n'));
  const report = await audit(folder);
  expect(resultOf(report)).toEqual(['fail', 'FILES_CHANGED', ['FILES_CHANGED fail']]);
  expect(report.decision).toBe('refused');
});

test('an altered record, list or timestamp is found', async () => {
  for (const name of ['0.cbor', '0.0.tsr']) {
    const folder = await exported(await renewed());
    const path = `renewals/${name}`;
    const bytes = await readFile(join(folder, path));
    bytes[bytes.length - 3]! ^= 1;
    await replace(folder, path, bytes);
    const [result] = resultOf(await audit(folder));
    expect([name, result]).toEqual([name, 'fail']);
  }
});

test('authorities that are not trusted vouch for nothing', async () => {
  const report = await audit(await exported(await renewed()), false);
  expect(resultOf(report)[0]).toBe('skip');
  expect(report.renewals?.renewals.every(({ time }) => time === undefined)).toBe(true);
});

test('files that a range leaves out are said, and nothing more', async () => {
  const report = await audit(await exported(await renewed(), NOW + 320 * (HOUR / 1000)));
  const [result, , found] = resultOf(report);
  expect(result).toBe('pass');
  expect(found).not.toContain('FILES_MISSING fail');
  expect(report.decision).toBe('accepted');
});
