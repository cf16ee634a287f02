import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import { encodeAnchor } from '../../../attestation/log/anchor.ts';
import { leafHash, verifyConsistency, verifyInclusion } from '../../../attestation/log/merkle.ts';
import { parseReceipt } from '../../../attestation/receipt/receipt.ts';
import { tilePath } from '../../../attestation/log/tiles.ts';
import { DiskBlobs, digestOf } from '../../../src/archive/blobs.ts';
import type { ArchiveSource } from '../../../src/archive/source.ts';
import { makeFolder, until } from '../../support/service.ts';
import { contextOf } from '../../support/world.ts';
import { startInstance } from './instance.ts';
import { describeStores } from './stores.ts';

const sha256 = sha256With(nodeCrypto);
const ADMIN = { role: 'admin', name: 'admin' } as const;

async function pathsOf(source: ArchiveSource, instance: string): Promise<readonly string[]> {
  const files = (await source.instances()).find((found) => found.instance === instance)!;
  const paths: string[] = [];
  for await (const path of files.paths()) paths.push(path);
  return paths;
}

describeStores('the mirror', (open) => {
  test('has every file of a log, and every receipt with its tenant', async () => {
    const one = await startInstance({ folder: await makeFolder(), sql: await open() });
    for (let i = 0; i < 300; i++) await one.issue({ tenant: i % 2 === 0 ? 'a' : 'b' });
    await one.vouching.covered(300);
    await one.archive.catchUp();
    const paths = await pathsOf(one.archive.source, one.instance);
    expect(paths).toEqual([...paths].sort());
    expect(paths).toEqual(
      expect.arrayContaining([
        'origin',
        'created',
        'checkpoint',
        'evidence/0.cbor',
        'evidence/1.cbor',
        'tile/0/000',
        'tile/entries/000',
      ]),
    );
    const bundle = tilePath({ level: 'entries', index: 0, width: 256 });
    const [files] = await one.archive.source.instances();
    expect(Buffer.from((await files!.read(bundle))!)).toEqual(Buffer.from((await one.log.tile(bundle))!));
    const all = await one.archive.reading.query(ADMIN, { limit: 1000 });
    expect(all.receipts).toHaveLength(300);
    const own = await one.archive.reading.query({ role: 'tenant', name: 'a' }, { limit: 1000 });
    expect(own.receipts).toHaveLength(150);
    expect(one.archive.mirrorStatus).toMatchObject({ state: 'ready', behind: expect.any(Number) });
  });

  test('gives bundles that a verifier takes, of an instance that is no more, too', async () => {
    const [folder, sql] = [await makeFolder(), await open()];
    const one = await startInstance({ folder, sql });
    const draft = await one.issue({ tenant: 'a' });
    for (let i = 0; i < 20; i++) await one.issue();
    await one.stop();
    const two = await startInstance({ folder, sql });
    await two.archive.catchUp();
    const bundle = await two.archive.reading.bundle(ADMIN, toHex(draft.id));
    const { receipt, verdict } = await appraiseBundle(bundle, {}, contextOf());
    expect(receipt?.claims.id).toEqual(draft.id);
    expect(verdict.decision).toBe('accepted');
    expect(verdict.checks.filter(({ result }) => result === 'fail')).toEqual([]);
  });

  test('bundles hold what outsiders said of a later tree', async () => {
    const one = await startInstance({ folder: await makeFolder(), sql: await open() });
    const draft = await one.issue();
    await one.vouching.covered(1);
    // The record that names the covering document is in the tree of this size.
    await until(() => one.log.durableSize > 2);
    const size = one.log.durableSize;
    const note = await one.vouching.checkpointAt(size);
    await one.log.publish(note, size);
    await one.log.writeAnchor(size, encodeAnchor({ note, tokens: [] }));
    await one.archive.catchUp();
    const { receipt, cited, covering, witnessed } = parseBundle(
      await one.archive.reading.bundle(ADMIN, toHex(draft.id)),
    );
    expect(parseReceipt(receipt).claims.id).toEqual(draft.id);
    expect(parseDocument(cited).statement.seq).toBe(0);
    const { epoch, consistency } = witnessed!;
    const root = await one.log.root(size);
    const leaf = leafHash(sha256, epoch.entry);
    verifyInclusion(sha256, { index: epoch.index, size, path: epoch.path }, leaf, root);
    const later = parseDocument(covering!.document).statement;
    const proof = { size1: later.logSize, size2: size, path: consistency };
    verifyConsistency(sha256, proof, later.logRoot, root);
  });

  test('goes on where a crash left it, and does nothing twice', async () => {
    const [folder, sql] = [await makeFolder(), await open()];
    const one = await startInstance({ folder, sql });
    for (let i = 0; i < 260; i++) await one.issue({ tenant: 'a' });
    await one.archive.catchUp();
    const late = await one.issue({ tenant: 'a' });
    await one.crash();
    const two = await startInstance({ folder, sql });
    await two.archive.catchUp();
    await two.archive.catchUp();
    const { instances, findings } = await two.archive.storeStatus();
    expect(findings).toEqual([]);
    expect(instances).toMatchObject([
      { instance: one.instance, complete: true, live: false, entries: one.log.durableSize },
      { instance: two.instance, complete: false, live: true },
    ]);
    const all = await two.archive.reading.query(ADMIN, { limit: 1000 });
    expect(all.receipts).toHaveLength(261);
    // Its tenant was in the memory of the process only.
    const row = await two.archive.reading.row(ADMIN, toHex(late.id));
    expect(row.tenant).toBeUndefined();
    const tenant = { role: 'tenant', name: 'a' } as const;
    await expect(two.archive.reading.receipt(tenant, toHex(late.id))).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const other = { role: 'tenant', name: 'b' } as const;
    await expect(two.archive.reading.claim(other, toHex(late.id), late.k)).rejects.toMatchObject({
      code: 'CLAIM_REFUSED',
    });
    await two.archive.reading.claim(tenant, toHex(late.id), late.k);
    expect(await two.archive.reading.receipt(tenant, toHex(late.id))).toBeInstanceOf(Uint8Array);
  });

  test('holds the entries beyond the last checkpoint of a log that crashed', async () => {
    const [folder, sql] = [await makeFolder(), await open()];
    const one = await startInstance({ folder, sql });
    const draft = await one.issue();
    await one.crash();
    const two = await startInstance({ folder, sql });
    await two.archive.catchUp();
    expect(await two.archive.reading.receipt(ADMIN, toHex(draft.id))).toBeInstanceOf(Uint8Array);
  });

  test('names a predecessor that is not there, and one that was rolled back', async () => {
    const [folder, sql] = [await makeFolder(), await open()];
    const one = await startInstance({ folder, sql });
    await one.stop();
    const two = await startInstance({ folder, sql: await open() });
    await two.archive.catchUp();
    await sql.query({ text: 'SELECT 1 AS one' });
    await two.stop();
    await rm(join(folder, 'instances', one.instance), { recursive: true });
    const three = await startInstance({ folder, sql });
    await three.archive.catchUp();
    const { findings } = await three.archive.storeStatus();
    expect(findings).toEqual([]);
    await sql.batch([
      { text: 'DELETE FROM archive_instances WHERE instance = ?', values: [two.instance] },
      {
        text: 'UPDATE archive_instances SET predecessor_size = 1 WHERE instance = ?',
        values: [two.instance],
      },
    ]);
    const after = await three.archive.storeStatus();
    expect(after.findings).toMatchObject([{ code: 'GAP', instance: three.instance }]);
  });
});

test('blobs are what their digests say', async () => {
  const folder = await makeFolder();
  const blobs = new DiskBlobs(folder);
  const bytes = Buffer.from('bytes');
  const digest = digestOf(bytes);
  expect(await blobs.get(digest)).toBeUndefined();
  await blobs.put(digest, bytes);
  await blobs.put(digest, bytes);
  expect(Buffer.from((await blobs.get(digest))!)).toEqual(bytes);
  const hex = toHex(digest);
  await writeFile(join(folder, hex.slice(0, 2), hex.slice(2, 4), hex.slice(4)), 'other');
  await expect(blobs.get(digest)).rejects.toMatchObject({ code: 'BLOB_DAMAGED' });
  await blobs.remove(digest);
  await blobs.remove(digest);
  expect(await blobs.get(digest)).toBeUndefined();
});
