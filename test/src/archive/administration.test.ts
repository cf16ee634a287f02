import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { fromHex, toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { actSubject, type LogRecord, parseRecord } from '../../../attestation/receipt/record.ts';
import { digestOf } from '../../../src/archive/blobs.ts';
import type { ReceiptDraft } from '../../../src/receipts/draft.ts';
import { makeFolder } from '../../support/service.ts';
import { startInstance, type TestInstance } from './instance.ts';
import { describeStores } from './stores.ts';

const ADMIN = { role: 'admin', name: 'admin' } as const;
const AUDITOR = { role: 'auditor', name: 'eve' } as const;
const AUTHORITY = { actor: 'admin', rule: 'case 7' } as const;
const DAY_MS = 86_400_000;

const tenant = (name: string) => ({ role: 'tenant', name }) as const;
const idOf = ({ id }: ReceiptDraft): string => toHex(id);

/** The acts in the log itself, in order. */
async function loggedActs({ log }: TestInstance): Promise<readonly (LogRecord & { kind: 'act' })[]> {
  const acts: (LogRecord & { kind: 'act' })[] = [];
  for (let i = 0; i < log.durableSize; i++) {
    try {
      const { record } = parseRecord(await log.entry(i));
      if (record.kind === 'act') acts.push(record);
    } catch {
      // A receipt.
    }
  }
  return acts;
}

describeStores('content and its end', (open) => {
  const begin = async (options: Partial<Parameters<typeof startInstance>[0]> = {}): Promise<TestInstance> =>
    startInstance({ folder: await makeFolder(), sql: await open(), keepsContent: true, ...options });

  test('opens for its tenant and for an admin, whose look is logged, and for nobody else', async () => {
    const one = await begin();
    const draft = await one.issue({ tenant: 'a' });
    await one.archive.catchUp();
    const { reading } = one.archive;
    const opened = await reading.content(tenant('a'), idOf(draft), 'own');
    expect(Buffer.from(opened.request)).toEqual(Buffer.from(draft.request));
    expect(await loggedActs(one)).toEqual([]);
    await reading.content(ADMIN, idOf(draft), 'case 7');
    const [act] = await loggedActs(one);
    expect(act).toMatchObject({ act: 'admin', actor: 'admin', rule: 'case 7', count: 1 });
    expect(act!.subject).toEqual(actSubject([draft.id], nodeCrypto));
    for (const reader of [tenant('b'), AUDITOR, { role: 'tenant', name: undefined } as const]) {
      await expect(reading.content(reader, idOf(draft), 'own')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    }
  });

  test('is encrypted on the disk', async () => {
    const folder = await makeFolder();
    const one = await begin({ folder });
    await one.issue({ request: Buffer.from('a secret question') });
    const found: Buffer[] = [];
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) found.push(await readFile(join(entry.parentPath, entry.name)));
    }
    expect(found.some((bytes) => bytes.includes('a secret question'))).toBe(false);
  });

  test('of another receipt under this receipt is refused', async () => {
    const sql = await open();
    const one = await begin({ sql });
    const [a, b] = [await one.issue({ tenant: 'a' }), await one.issue({ tenant: 'a' })];
    await one.archive.catchUp();
    await sql.batch([
      {
        text: `UPDATE archive_content SET blob = (SELECT blob FROM archive_content WHERE receipt = ?),
          wrapped = (SELECT wrapped FROM archive_content WHERE receipt = ?) WHERE receipt = ?`,
        values: [a.id, a.id, b.id],
      },
    ]);
    await expect(one.archive.reading.content(tenant('a'), idOf(b), 'own')).rejects.toMatchObject({
      code: 'CONTENT_KEY_WRONG',
    });
  });

  test('that is not what the receipt commits to is refused', async () => {
    const one = await begin();
    const draft = await one.issue({ tenant: 'a' });
    const other = { ...draft, id: Buffer.alloc(16, 3) };
    await one.archive.keep(
      {
        receipt: other.id,
        k: draft.k,
        request: Buffer.from('x'),
        response: { kind: 'body', body: Buffer.from('y') },
      },
      'a',
    );
    await one.vouching.issue(other);
    await one.archive.catchUp();
    await expect(one.archive.reading.content(tenant('a'), idOf(other), 'own')).rejects.toMatchObject({
      code: 'CONTENT_MISMATCH',
    });
  });

  test('is erased with its key and its blob, after the act is in the log', async () => {
    const sql = await open();
    const one = await begin({ sql });
    const [draft, kept] = [await one.issue({ tenant: 'a' }), await one.issue({ tenant: 'b' })];
    await one.archive.catchUp();
    const [row] = await sql.query({
      text: 'SELECT blob FROM archive_content WHERE receipt = ?',
      values: [draft.id],
    });
    const blob = row!['blob'] as Uint8Array;
    expect(await one.contentBlobs.get(blob)).toBeInstanceOf(Uint8Array);
    expect(await one.archive.administration.erase(AUTHORITY, { receipt: idOf(draft) })).toBe(1);
    const [act] = await loggedActs(one);
    expect(act).toMatchObject({ act: 'content-erased', actor: 'admin', rule: 'case 7', count: 1 });
    expect(await one.contentBlobs.get(blob)).toBeUndefined();
    const { reading } = one.archive;
    await expect(reading.content(tenant('a'), idOf(draft), 'own')).rejects.toMatchObject({
      code: 'ALREADY_ERASED',
    });
    expect(await reading.row(ADMIN, idOf(draft))).toMatchObject({ content: 'erased' });
    expect(await reading.row(ADMIN, idOf(kept))).toMatchObject({ content: 'kept' });
    await expect(one.archive.administration.erase(AUTHORITY, { receipt: idOf(draft) })).rejects.toMatchObject(
      {
        code: 'ALREADY_ERASED',
      },
    );
    // The receipt itself stays.
    expect(await reading.receipt(ADMIN, idOf(draft))).toBeInstanceOf(Uint8Array);
  });

  test('is not erased before the minimum', async () => {
    const one = await begin({ retention: { contentMinDays: 10 } });
    const draft = await one.issue({ tenant: 'a' });
    await one.archive.catchUp();
    const { administration } = one.archive;
    one.advance(9 * DAY_MS);
    await expect(administration.erase(AUTHORITY, { tenant: 'a' })).rejects.toMatchObject({
      code: 'RETENTION_MINIMUM',
    });
    expect(await loggedActs(one)).toEqual([]);
    one.advance(2 * DAY_MS);
    expect(await administration.erase(AUTHORITY, { receipt: idOf(draft) })).toBe(1);
  });

  test.each([
    ['receipt', (draft: ReceiptDraft) => ({ receipt: idOf(draft) })],
    ['tenant', () => ({ tenant: 'a' })],
    ['time', () => ({ from: 0, to: 10 ** 11 })],
  ])('is not erased under a hold by %s, and is once that is lifted', async (_name, scopeOf) => {
    const one = await begin({ retention: { contentMaxDays: 5 } });
    const draft = await one.issue({ tenant: 'a' });
    await one.archive.catchUp();
    const { administration, reading } = one.archive;
    const hold = await administration.hold({ actor: 'admin', rule: 'litigation' }, scopeOf(draft));
    await expect(administration.erase(AUTHORITY, { receipt: idOf(draft) })).rejects.toMatchObject({
      code: 'UNDER_HOLD',
    });
    one.advance(20 * DAY_MS);
    await one.archive.catchUp();
    expect(await reading.row(ADMIN, idOf(draft))).toMatchObject({ content: 'kept' });
    await administration.lift({ actor: 'admin', rule: 'settled' }, hold);
    await expect(administration.lift(AUTHORITY, hold)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    one.advance(DAY_MS);
    await one.archive.catchUp();
    expect(await reading.row(ADMIN, idOf(draft))).toMatchObject({ content: 'erased' });
    const acts = await loggedActs(one);
    expect(acts.map(({ act }) => act)).toEqual(['hold-placed', 'hold-lifted', 'content-erased']);
    expect(acts[2]).toMatchObject({ actor: 'retention', rule: 'archive.contentMaxDays = 5' });
  });

  test('keeps what may be of a tenant under a hold on that tenant', async () => {
    const one = await begin();
    const draft = await one.issue({ tenant: undefined });
    await one.archive.catchUp();
    await one.archive.administration.hold(AUTHORITY, { tenant: 'a' });
    await expect(one.archive.administration.erase(AUTHORITY, { receipt: idOf(draft) })).rejects.toMatchObject(
      { code: 'UNDER_HOLD' },
    );
  });

  test('a hold on nothing, or on an empty range, is refused', async () => {
    const one = await begin();
    const { administration } = one.archive;
    for (const scope of [{}, { from: 5, to: 5 }, { receipt: 'x' }]) {
      await expect(administration.hold(AUTHORITY, scope)).rejects.toMatchObject({ code: 'HOLD_INVALID' });
    }
    await expect(administration.hold({ actor: '', rule: 'r' }, { tenant: 'a' })).rejects.toMatchObject({
      code: 'ACT_REFUSED',
    });
  });

  test('receipts expire by whole bundles, and what is held stays', async () => {
    const one = await begin({ retention: { receiptsMaxDays: 30 }, keepsContent: false });
    const drafts: ReceiptDraft[] = [];
    for (let i = 0; i < 1100; i++) {
      if (i === 800)
        await one.vouching.recordAct({ ...AUTHORITY, act: 'admin', subject: new Uint8Array(32), count: 1 });
      drafts.push(await one.issue({ tenant: i === 600 ? 'held' : 'a' }));
    }
    await one.archive.catchUp();
    await one.archive.administration.hold(AUTHORITY, { tenant: 'held' });
    one.advance(31 * DAY_MS);
    await one.archive.catchUp();
    const { reading } = one.archive;
    // Bundle 0 has the opening record, bundle 1 went, bundle 2 is under the hold, bundle 3 has an act, bundle 4 is open.
    await expect(reading.receipt(ADMIN, idOf(drafts[300]!))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    for (const kept of [0, 600, 900, 1050])
      expect(await reading.receipt(ADMIN, idOf(drafts[kept]!))).toBeInstanceOf(Uint8Array);
    const acts = await loggedActs(one);
    expect(acts.at(-1)).toMatchObject({ act: 'receipts-expired', actor: 'retention', count: 1 });
    const [files] = await one.archive.source.instances();
    expect(await files!.read('tile/entries/001')).toBeUndefined();
    expect(await files!.read('tile/0/001')).toBeInstanceOf(Uint8Array);
    await one.archive.catchUp();
    expect(await files!.read('tile/entries/001')).toBeUndefined();
    expect(await one.blobs.get(digestOf((await one.log.tile('tile/entries/001'))!))).toBeUndefined();
  });

  test('acts open their digests in the export', async () => {
    const one = await begin();
    const hold = await one.archive.administration.hold(AUTHORITY, { tenant: 'a' });
    await one.archive.catchUp();
    const [act] = await loggedActs(one);
    const [files] = await one.archive.source.instances();
    const opened = await files!.read(`acts/${toHex(act!.subject)}.cbor`);
    expect(digestOf(opened!)).toEqual(Buffer.from(act!.subject));
    expect(Buffer.from(opened!).includes(Buffer.from(fromHex(hold)))).toBe(true);
  });

  test('an act that a crash interrupted takes effect where the log has it, else never happened', async () => {
    const [folder, sql] = [await makeFolder(), await open()];
    const one = await begin({ folder, sql });
    const draft = await one.issue({ tenant: 'a' });
    await one.archive.catchUp();
    const pending = async (id: string, receipts: readonly Uint8Array[], logged: boolean): Promise<void> => {
      const subject = actSubject(receipts, nodeCrypto);
      const detail = { act: 'content-erased', receipts: receipts.map(toHex) };
      await sql.batch([
        {
          text: `INSERT INTO archive_acts (id, time, act, actor, rule, subject, count, detail, state, instance)
            VALUES (?, 1, 'content-erased', 'admin', 'r', ?, 1, ?, 'pending', ?)`,
          values: [id, subject, JSON.stringify(detail), one.instance],
        },
      ]);
      const body = { act: 'content-erased', actor: 'admin', rule: 'r', subject, count: 1 } as const;
      if (logged) await one.vouching.recordAct(body);
    };
    const never = await one.issue({ tenant: 'a' });
    await pending('11', [draft.id], true);
    await pending('22', [never.id], false);
    await one.crash();
    const two = await begin({ folder, sql });
    await two.archive.catchUp();
    const { reading } = two.archive;
    expect(await reading.row(ADMIN, idOf(draft))).toMatchObject({ content: 'erased' });
    expect(await reading.row(ADMIN, idOf(never))).toMatchObject({ content: 'kept' });
    const { counts } = await two.archive.storeStatus();
    expect(counts).toMatchObject({ actsPending: 0 });
  });

  test('a policy is registered once it is one, and receipts are indexed under it from then on', async () => {
    const one = await begin();
    const { administration, reading } = one.archive;
    await one.issue();
    await one.archive.catchUp();
    const json = Buffer.from(JSON.stringify(SIMULATED_POLICY));
    const digest = await administration.registerPolicy(AUTHORITY, json);
    const after = await one.issue();
    await one.archive.catchUp();
    const page = await reading.query(AUDITOR, { policy: digest });
    expect(page.receipts.map(({ id }) => id)).toEqual([idOf(after)]);
    expect(await administration.policies()).toMatchObject([{ digest }]);
    expect(await administration.policy(fromHex(digest))).toBe(json.toString());
    const wrong = administration.registerPolicy(AUTHORITY, Buffer.from('{}'));
    await expect(wrong).rejects.toMatchObject({ code: 'POLICY_INVALID' });
  });
});
