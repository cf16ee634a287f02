import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { digestOf, ObjectBlobs } from '../../../src/archive/blobs.ts';
import { openEmbedded } from '../../../src/archive/embedded.ts';
import { openPostgres } from '../../../src/archive/postgres.ts';
import { hasPostgres, startPostgres } from '../../support/postgres.ts';
import { startObjectStore } from '../../support/objectStore.ts';
import { makeFolder } from '../../support/service.ts';
import { NOW } from '../../support/world.ts';
import { startInstance } from './instance.ts';

const ADMIN = { role: 'admin', name: 'admin' } as const;

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

(hasPostgres ? describe : describe.skip)(
  hasPostgres ? 'PostgreSQL that stops' : 'PostgreSQL that stops: skipped: no PostgreSQL',
  () => {
    test('is a named state, costs no receipt, and is caught up with', async () => {
      const server = await startPostgres();
      const sql = await openPostgres(await server.database());
      closing.push(() => sql.close());
      const one = await startInstance({ folder: await makeFolder(), sql });
      one.archive.start();
      const before = await one.issue({ tenant: 'a' });
      await one.archive.catchUp();
      await server.stop();
      const during = await one.issue({ tenant: 'a' });
      await expect(one.archive.catchUp()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
      expect(one.archive.mirrorStatus).toMatchObject({ state: 'unavailable', code: 'STORE_UNAVAILABLE' });
      await expect(one.archive.reading.receipt(ADMIN, toHex(before.id))).rejects.toMatchObject({
        code: 'STORE_UNAVAILABLE',
      });
      const hold = one.archive.administration.hold({ actor: 'admin', rule: 'r' }, { tenant: 'a' });
      await expect(hold).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
      await server.start();
      await one.archive.catchUp();
      expect(one.archive.mirrorStatus).toMatchObject({ state: 'ready', behind: 0 });
      for (const { id } of [before, during]) {
        expect(await one.archive.reading.row(ADMIN, toHex(id))).toMatchObject({ tenant: 'a' });
      }
      await one.stop();
    });

    test('at the start keeps nobody from starting', async () => {
      const server = await startPostgres();
      const url = await server.database();
      await server.stop();
      const sql = await openPostgres(url);
      closing.push(() => sql.close());
      const one = await startInstance({ folder: await makeFolder(), sql, keepsContent: true });
      expect(one.failures).toMatchObject([{ code: 'STORE_UNAVAILABLE' }]);
      await expect(one.archive.catchUp()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
      await server.start();
      await one.archive.catchUp();
      const draft = await one.issue();
      await one.archive.catchUp();
      expect(await one.archive.reading.row(ADMIN, toHex(draft.id))).toMatchObject({ content: 'kept' });
    });

    test('and content that is to be kept: nothing is answered meanwhile', async () => {
      const server = await startPostgres();
      const sql = await openPostgres(await server.database());
      closing.push(() => sql.close());
      const one = await startInstance({ folder: await makeFolder(), sql, keepsContent: true });
      await one.archive.catchUp();
      expect(() => one.archive.requireContent()).not.toThrow();
      await server.stop();
      const size = one.log.durableSize;
      await expect(one.issue()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
      expect(one.log.durableSize).toBe(size);
      await one.archive.catchUp().catch(() => undefined);
      await server.start();
      await one.archive.catchUp();
      await one.issue();
    });
  },
);

describe('blobs that cannot be written, of content that is to be kept', () => {
  test('are a named state while nothing is asked, and are tried again', async () => {
    const folder = await makeFolder();
    const place = join(folder, 'archive', 'content');
    const sql = await openEmbedded(`${folder}/archive.db`);
    closing.push(() => sql.close());
    const one = await startInstance({ folder, sql, keepsContent: true });
    await one.archive.catchUp();
    await mkdir(dirname(place), { recursive: true });
    await writeFile(place, 'no folder');
    const size = one.log.durableSize;
    await expect(one.issue()).rejects.toMatchObject({ code: 'BLOBS_UNAVAILABLE' });
    expect(one.log.durableSize).toBe(size);
    for (let pass = 0; pass < 2; pass++) {
      await expect(one.archive.catchUp()).rejects.toMatchObject({ code: 'BLOBS_UNAVAILABLE' });
      expect(one.archive.mirrorStatus).toMatchObject({ state: 'unavailable', code: 'BLOBS_UNAVAILABLE' });
      expect(() => one.archive.requireContent()).toThrow();
    }
    await rm(place);
    await one.archive.catchUp();
    expect(one.archive.mirrorStatus).toMatchObject({ state: 'ready' });
    expect(() => one.archive.requireContent()).not.toThrow();
    const { id } = await one.issue();
    await one.archive.catchUp();
    expect(await one.archive.reading.row(ADMIN, toHex(id))).toMatchObject({ content: 'kept' });
    const files = await readdir(place, { recursive: true, withFileTypes: true });
    expect(files.filter((file) => file.isFile())).toHaveLength(1);
  });
});

describe('blobs in an object store', () => {
  test('are written once, read back, and removed; a store that refuses is named', async () => {
    const objects = await startObjectStore();
    closing.push(() => objects.close());
    const blobs = new ObjectBlobs(objects.store, {
      prefix: 'archive/log/',
      lockDays: undefined,
      now: () => NOW,
    });
    const bytes = Buffer.from('bytes');
    const digest = digestOf(bytes);
    expect(await blobs.get(digest)).toBeUndefined();
    await blobs.put(digest, bytes);
    await blobs.put(digest, bytes);
    expect(Buffer.from((await blobs.get(digest))!)).toEqual(bytes);
    objects.server.mood = 'refuses';
    await expect(blobs.get(digest)).rejects.toMatchObject({ code: 'BLOBS_UNAVAILABLE' });
    objects.server.mood = 'serves';
    await blobs.remove(digest);
    expect(await blobs.get(digest)).toBeUndefined();
  });
});
