import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FolderReceiptStore } from '../../../src/client/folderReceiptStore.ts';
import type * as Door from '../../../src/client/indexedDbReceiptStore.ts';
import { MemoryReceiptStore, sizeOf, type ReceiptRecord } from '../../../src/client/receiptStore.ts';
import { inChromium } from '../../support/browserPage.ts';
import { propertyRuns, PROPERTY_TIMEOUT } from '../../support/runs.ts';

const bytes = (size: number, fill: number) => new Uint8Array(size).fill(fill);
const RECORD: ReceiptRecord = {
  id: 'ab'.repeat(16),
  time: 1_795_262_400_000,
  path: '/v1/embeddings?a=b',
  status: 200,
  contentType: 'application/json',
  nonce: bytes(32, 1),
  k: bytes(32, 2),
  request: bytes(10, 3),
  response: bytes(20, 4),
  receipt: bytes(30, 5),
  bundle: bytes(40, 6),
};
const OTHER = { ...RECORD, id: 'cd'.repeat(16), bundle: undefined };

let root: string;
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'vouchsafe-receipts-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));
const newFolder = () => join(root, String(count++));

const STORES = {
  memory: (maxBytes?: number) =>
    Promise.resolve(new MemoryReceiptStore(maxBytes === undefined ? {} : { maxBytes })),
  folder: (maxBytes?: number) =>
    FolderReceiptStore.open(newFolder(), maxBytes === undefined ? {} : { maxBytes }),
} as const;

describe.each(Object.entries(STORES))('receipts in a %s', (_name, open) => {
  test('are given back as they were kept, and no more once they were deleted', async () => {
    const store = await open();
    await Promise.all([store.put(RECORD), store.put(OTHER)]);
    await store.put(RECORD);
    expect(plain(await store.get(RECORD.id))).toEqual(plain(RECORD));
    expect(plain(await store.get(OTHER.id))).toEqual(plain(OTHER));
    expect([...(await store.ids())].sort()).toEqual([RECORD.id, OTHER.id]);
    await store.delete(RECORD.id);
    expect(await store.get(RECORD.id)).toBeUndefined();
    expect(await store.ids()).toEqual([OTHER.id]);
  });

  test('have their fill', async () => {
    const store = await open(sizeOf(RECORD) + 1);
    await store.put(RECORD);
    await expect(store.put(OTHER)).rejects.toMatchObject({ code: 'STORE_FULL' });
    await store.delete(RECORD.id);
    await store.put(OTHER);
    expect(await store.ids()).toEqual([OTHER.id]);
  });

  test.each(['../up', '', 'AB'.repeat(16), 'ab'])('the id %s is none', async (id) => {
    const store = await open();
    const putting = async () => store.put({ ...RECORD, id });
    await expect(putting()).rejects.toMatchObject({ code: 'RECORD_INVALID' });
  });
});

/** Buffers and arrays compare as bytes. */
function plain(record: ReceiptRecord | undefined) {
  return (
    record && {
      ...record,
      ...Object.fromEntries(
        Object.entries(record).map(([name, value]) => [
          name,
          value instanceof Uint8Array ? [...value] : value,
        ]),
      ),
    }
  );
}

describe('a folder of receipts', () => {
  test('is for its owner alone, holds whole records, and counts what was there', async () => {
    const folder = newFolder();
    await (await FolderReceiptStore.open(folder)).put(RECORD);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    expect((await stat(join(folder, RECORD.id, 'request.bin'))).mode & 0o777).toBe(0o600);
    await writeFile(join(folder, 'notes.txt'), 'mine');
    const again = await FolderReceiptStore.open(folder, { maxBytes: sizeOf(RECORD) + 40 });
    await expect(again.put(OTHER)).rejects.toMatchObject({ code: 'STORE_FULL' });
    expect((await readdir(folder)).sort()).toEqual([RECORD.id, 'notes.txt']);
  });

  test('a record of another receipt under the same id is not replaced', async () => {
    const folder = newFolder();
    const store = await FolderReceiptStore.open(folder);
    await store.put(RECORD);
    await expect(store.put({ ...RECORD, receipt: bytes(30, 9) })).rejects.toMatchObject({
      code: 'STORE_FAILED',
    });
    expect(plain(await store.get(RECORD.id))).toEqual(plain(RECORD));
    expect(await readdir(folder)).toEqual([RECORD.id]);
  });

  test('one that cannot be made is named', async () => {
    await expect(FolderReceiptStore.open(join(root, 'absent', 'below'))).rejects.toMatchObject({
      code: 'STORE_FAILED',
    });
  });

  const files = ['record.json', 'nonce.txt', 'commitment-key.txt'];
  test(
    'a damaged record is refused, whatever is in it',
    async () => {
      const folder = newFolder();
      const store = await FolderReceiptStore.open(folder);
      await mkdir(join(folder, OTHER.id));
      await expect(store.get(OTHER.id)).rejects.toMatchObject({ code: 'RECORD_INVALID' });
      await store.put(RECORD);
      const run = fc.asyncProperty(fc.constantFrom(...files), fc.string(), async (name, text) => {
        await writeFile(join(folder, RECORD.id, name), text);
        const read = await store.get(RECORD.id).catch((error: unknown) => error);
        if (!(read instanceof Error)) return;
        expect(read).toMatchObject({ code: 'RECORD_INVALID' });
      });
      await fc.assert(run, propertyRuns(100));
    },
    PROPERTY_TIMEOUT,
  );
});

describe('receipts in a browser', () => {
  inChromium(`export { IndexedDbReceiptStore } from './src/client/indexedDbReceiptStore.ts';`, (page) => {
    test('are kept beyond the page, have their fill, and are shared by its origin', async () => {
      const seen = await page().evaluate(async () => {
        const { IndexedDbReceiptStore } = (globalThis as unknown as { door: typeof Door }).door;
        const part = new Uint8Array(10);
        const record = (letter: string) => ({
          id: letter.repeat(32),
          time: 1,
          path: '/',
          status: 200,
          contentType: 'a/b',
          nonce: part,
          k: part,
          request: part,
          response: part,
          receipt: part,
        });
        const refused = (step: Promise<unknown>) =>
          step.then(
            () => 'kept',
            (error: unknown) => (error as { readonly code: string }).code,
          );
        const store = await IndexedDbReceiptStore.open('receipts', { maxBytes: 100 });
        await store.put(record('a'));
        store.close();
        const [one, two] = [
          await IndexedDbReceiptStore.open('receipts', { maxBytes: 100 }),
          await IndexedDbReceiptStore.open('receipts', { maxBytes: 100 }),
        ];
        const kept = await Promise.all([refused(one.put(record('b'))), refused(two.put(record('c')))]);
        const again = await refused(two.put(record('a')));
        const ids = [...(await one.ids())].length;
        await two.delete('a'.repeat(32));
        const room = await refused(one.put(record('d')));
        const found = await one.get('d'.repeat(32));
        const bad = await refused(one.put(record('z')));
        return {
          kept: kept.sort(),
          again,
          ids,
          room,
          size: found?.receipt.length,
          gone: await one.get('a'.repeat(32)),
          bad,
        };
      });
      expect(seen).toEqual({
        kept: ['STORE_FULL', 'kept'],
        again: 'kept',
        ids: 2,
        room: 'kept',
        size: 10,
        gone: undefined,
        bad: 'RECORD_INVALID',
      });
    });
  });
});
