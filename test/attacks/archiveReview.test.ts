import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, test } from '@jest/globals';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { actSubject } from '../../attestation/receipt/record.ts';
import { DiskBlobs } from '../../src/archive/blobs.ts';
import { openEmbedded } from '../../src/archive/embedded.ts';
import { ArchiveError } from '../../src/archive/errors.ts';
import { formerLog } from '../../src/archive/logAdapters.ts';
import { LogMirror } from '../../src/archive/mirror.ts';
import { boundedReads } from '../../src/archive/boundedReads.ts';
import type { Sql } from '../../src/archive/sql.ts';
import { TenantNotes } from '../../src/archive/tenantNotes.ts';
import { RetiredKeys } from '../../src/http/retiredKeys.ts';
import type { FormerServedLog } from '../../src/http/servedLog.ts';
import { diskStorage } from '../../src/log/diskStorage.ts';
import { LogError } from '../../src/log/errors.ts';
import { openReadOnlyLog } from '../../src/log/readOnlyLog.ts';
import type { ReceiptDraft } from '../../src/receipts/draft.ts';
import { startInstance, type InstanceOptions, type TestInstance } from '../src/archive/instance.ts';
import { ADMIN as ADMIN_KEY, ALICE, begin as beginServed } from '../src/archive/served.ts';
import { makeFolder, startTestService } from '../support/service.ts';
import { makeWorld, NOW } from '../support/world.ts';

const ADMIN = { role: 'admin', name: 'admin' } as const;
const AUTHORITY = { actor: 'admin', rule: 'case 7' } as const;
const DAY_MS = 86_400_000;

const tenant = (name: string) => ({ role: 'tenant', name }) as const;
const idOf = ({ id }: ReceiptDraft): string => toHex(id);

const opened: Sql[] = [];
afterEach(async () => {
  for (const sql of opened.splice(0)) await sql.close();
});

/** A database through hands that may interfere: `before` sees each statement before it is run. */
class Meddled implements Sql {
  readonly kind;
  readonly #sql: Sql;
  before: (text: string) => Promise<void> | void = () => undefined;

  constructor(sql: Sql) {
    this.#sql = sql;
    this.kind = sql.kind;
  }

  async query(...[statement]: Parameters<Sql['query']>): ReturnType<Sql['query']> {
    await this.before(statement.text);
    return this.#sql.query(statement);
  }

  async batch(...[statements]: Parameters<Sql['batch']>): Promise<void> {
    for (const { text } of statements) await this.before(text);
    return this.#sql.batch(statements);
  }

  exclusive<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.#sql.exclusive(work);
  }

  forget(): Promise<void> {
    return this.#sql.forget();
  }

  close(): Promise<void> {
    return this.#sql.close();
  }

  /** Fails once, as where the database is away, at the first statement with `part`. */
  failOnce(part: string): void {
    this.before = (text) => {
      if (!text.includes(part)) return;
      this.before = () => undefined;
      throw new ArchiveError('STORE_UNAVAILABLE', 'the database is away');
    };
  }
}

interface Begun {
  readonly folder: string;
  readonly sql: Meddled;
  readonly one: TestInstance;
}

async function begin(options: Partial<InstanceOptions> = {}): Promise<Begun> {
  const folder = await makeFolder();
  const sql = new Meddled(await openEmbedded(join(folder, 'archive.db')));
  opened.push(sql);
  const one = await startInstance({ folder, sql, keepsContent: true, ...options });
  return { folder, sql, one };
}

describe('who controls the database', () => {
  test('cannot have the content of one tenant given to another', async () => {
    const { sql, one } = await begin();
    const draft = await one.issue({ tenant: 'alice' });
    await one.archive.catchUp();
    for (const table of ['archive_entries', 'archive_content']) {
      await sql.batch([{ text: `UPDATE ${table} SET tenant = 'mallory'` }]);
    }
    await expect(one.archive.reading.content(tenant('mallory'), idOf(draft), 'own')).rejects.toMatchObject({
      code: 'CONTENT_MISMATCH',
    });
  });
});

describe('an erasure', () => {
  test('takes nothing that came after it was asked for', async () => {
    const { sql, one } = await begin({ retention: { contentMinDays: 10 } });
    const old = await one.issue({ tenant: 'a' });
    one.advance(11 * DAY_MS);
    let came = 0;
    sql.before = async (text) => {
      if (!text.includes('SELECT c.receipt FROM archive_content') || came === 3) return;
      came++;
      await one.issue({ tenant: 'a' });
    };
    expect(await one.archive.administration.erase(AUTHORITY, { tenant: 'a' })).toBe(1);
    expect(came).toBeGreaterThan(0);
    await one.archive.catchUp();
    const { receipts } = await one.archive.reading.query(ADMIN, {});
    expect(receipts.filter(({ content }) => content === 'erased').map(({ id }) => id)).toEqual([idOf(old)]);
  });

  test('leaves no wrapped key in the files of the embedded database', async () => {
    const { folder, sql, one } = await begin();
    const draft = await one.issue({ tenant: 'a' });
    const [row] = await sql.query({ text: 'SELECT wrapped FROM archive_content' });
    const wrapped = Buffer.from(row!['wrapped'] as Uint8Array);
    const isThere = async (): Promise<boolean> => {
      const files = ['archive.db', 'archive.db-wal'].map((name) =>
        readFile(join(folder, name)).catch(() => Buffer.alloc(0)),
      );
      return (await Promise.all(files)).some((bytes) => bytes.includes(wrapped));
    };
    expect(await isThere()).toBe(true);
    await one.archive.administration.erase(AUTHORITY, { receipt: idOf(draft) });
    expect(await isThere()).toBe(false);
  });

  test('that ended while an admin was about to look leaves nothing to see', async () => {
    const { one } = await begin();
    const draft = await one.issue({ tenant: 'a' });
    await one.archive.catchUp();
    const record = one.vouching.recordAct.bind(one.vouching);
    one.vouching.recordAct = async (body) => {
      if (body.act === 'content-erased') await delay(100);
      return record(body);
    };
    // The key is gone with the act, the blob not yet: it is there where a store is slow, or keeps versions.
    one.contentBlobs.remove = () => Promise.resolve();
    const erased = one.archive.administration.erase(AUTHORITY, { receipt: idOf(draft) });
    const looked = one.archive.reading.content(ADMIN, idOf(draft), 'case 7');
    await expect(looked).rejects.toMatchObject({ code: 'ALREADY_ERASED' });
    await erased;
  });
});

describe('an act that is in the log', () => {
  const erasure = async ({ one }: Begun): Promise<ReceiptDraft> => {
    const draft = await one.issue({ tenant: 'a' });
    await one.archive.catchUp();
    return draft;
  };
  const contentOf = async (one: TestInstance, draft: ReceiptDraft): Promise<string> =>
    (await one.archive.reading.row(ADMIN, idOf(draft))).content;

  test('takes effect as soon as the database answers again, not first after a restart', async () => {
    const begun = await begin();
    const { sql, one } = begun;
    const draft = await erasure(begun);
    sql.failOnce(`UPDATE archive_acts SET state = 'done'`);
    const erased = one.archive.administration.erase(AUTHORITY, { receipt: idOf(draft) });
    await expect(erased).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(await contentOf(one, draft)).toBe('kept');
    await one.archive.catchUp();
    expect(await contentOf(one, draft)).toBe('erased');
    expect((await one.archive.storeStatus()).counts).toMatchObject({ actsPending: 0 });
  });

  test('is not forgotten where its write ended the log and was done all the same', async () => {
    const begun = await begin();
    const { folder, sql, one } = begun;
    const draft = await erasure(begun);
    const record = one.vouching.recordAct.bind(one.vouching);
    one.vouching.recordAct = async (body) => {
      await record(body);
      throw new LogError('LOG_ENDED', 'the disk answered too late');
    };
    const erased = one.archive.administration.erase(AUTHORITY, { receipt: idOf(draft) });
    await expect(erased).rejects.toMatchObject({ code: 'LOG_ENDED' });
    await one.crash();
    const two = await startInstance({ folder, sql, keepsContent: true });
    await two.archive.catchUp();
    expect(await contentOf(two, draft)).toBe('erased');
  });

  test('takes effect after a crash, also where the database is away when it is resumed', async () => {
    const begun = await begin();
    const { folder, sql, one } = begun;
    const draft = await erasure(begun);
    sql.failOnce(`UPDATE archive_acts SET state = 'done'`);
    const erased = one.archive.administration.erase(AUTHORITY, { receipt: idOf(draft) });
    await expect(erased).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await one.crash();
    const two = await startInstance({ folder, sql, keepsContent: true });
    sql.failOnce(`a.state = 'pending'`);
    await expect(two.archive.catchUp()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await two.archive.catchUp();
    expect(await contentOf(two, draft)).toBe('erased');
  });

  test('of one subject twice does not stop the mirror', async () => {
    const begun = await begin();
    const { folder, sql, one } = begun;
    const draft = await erasure(begun);
    // Twice logged, never done: both rows wait for an index.
    const subject = actSubject([draft.id], nodeCrypto);
    const body = { act: 'admin', actor: 'admin', rule: 'r', subject, count: 1 } as const;
    for (const id of ['11', '22']) {
      await sql.batch([
        {
          text: `INSERT INTO archive_acts (id, time, act, actor, rule, subject, count, detail, state, instance)
            VALUES (?, 1, 'admin', 'admin', 'r', ?, 1, '{"act":"admin","what":"content-opened"}', 'pending', ?)`,
          values: [id, subject, one.instance],
        },
      ]);
      await one.vouching.recordAct(body);
    }
    await one.crash();
    const two = await startInstance({ folder, sql, keepsContent: true });
    await two.archive.catchUp();
    expect((await two.archive.storeStatus()).counts).toMatchObject({ actsPending: 0, acts: 2 });
  });
});

describe('the log of a former instance', () => {
  test('that cannot be read at the moment is taken over later, and nothing expires before', async () => {
    const { folder, sql, one } = await begin();
    const draft = await one.issue({ tenant: 'a' });
    await one.crash();
    let isAway = true;
    const two = await startInstance({
      folder,
      sql,
      openFormer: (open) =>
        isAway ? Promise.reject(new LogError('LOG_UNAVAILABLE', 'the store is away')) : open(),
    });
    await expect(two.archive.catchUp()).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    expect(two.archive.mirrorStatus).toMatchObject({ state: 'unavailable', former: 1 });
    isAway = false;
    await two.archive.catchUp();
    expect(await two.archive.reading.row(ADMIN, idOf(draft))).toMatchObject({ id: idOf(draft) });
  });

  test('that was taken for a former one while it was written is taken over to its end', async () => {
    const { folder, sql, one } = await begin();
    await one.issue({ tenant: 'a' });
    const storage = diskStorage(join(folder, 'instances'));
    const early = await openReadOnlyLog(storage.files(one.instance));
    const parts = { sql, blobs: new DiskBlobs(join(folder, 'archive', 'log')), now: () => NOW };
    const mirror = new LogMirror(formerLog(one.instance, early), { ...parts, tenants: new TenantNotes() });
    await mirror.finish(undefined);
    const late = await one.issue({ tenant: 'a' });
    await one.crash();
    const two = await startInstance({ folder, sql });
    await two.archive.catchUp();
    expect(await two.archive.reading.row(ADMIN, idOf(late))).toMatchObject({ id: idOf(late) });
  });
});

describe('who reads', () => {
  test('is not told to keep it', async () => {
    const served = await beginServed({ keepsContent: true });
    const { id } = await served.ask(ALICE.key);
    for (const path of ['', `/${id}`, `/${id}/content`]) {
      const { status, headers } = await served.get(`/v1/archive/receipts${path}`, ALICE.key);
      expect([status, headers.get('cache-control')]).toEqual([200, 'no-store']);
    }
  });

  test('takes no more connections of the database than others leave', async () => {
    let [inside, most] = [0, 0];
    const sql = boundedReads({
      query: async () => {
        most = Math.max(most, ++inside);
        await delay(5);
        inside--;
        return [];
      },
    } as unknown as Sql);
    await Promise.all(Array.from({ length: 20 }, () => sql.query({ text: 'SELECT 1' })));
    expect([inside, most]).toEqual([0, 2]);
  });
});

describe('who registers statements', () => {
  test('takes a place before the body is read, as for inference', async () => {
    const limits = { concurrency: 1, queue: 0 };
    const { url, service } = await startTestService({ scitt: { enabled: true }, limits });
    const register = (): Promise<Response> =>
      fetch(`${url}/entries`, {
        method: 'POST',
        headers: { 'content-type': 'application/cose' },
        body: new Uint8Array(300),
      });
    service.admission.enter();
    expect((await register()).status).toBe(429);
    service.admission.leave();
    expect((await register()).status).toBe(400);
    expect(service.admission.inside).toBe(0);
  });
});

describe('the key of a former instance', () => {
  test('is served again once its log can be read again', async () => {
    const { log } = await makeWorld();
    let isAway = true;
    const open = (): Promise<FormerServedLog> =>
      isAway
        ? Promise.reject(new LogError('LOG_UNAVAILABLE', 'the store is away'))
        : Promise.resolve({ readEvidence: (seq: number) => log.readEvidence(seq) } as FormerServedLog);
    const keys = new RetiredKeys({ logs: [{ instance: '00'.repeat(16), state: 'whole', size: 1 }], open });
    expect(await keys.all()).toHaveLength(0);
    isAway = false;
    expect(await keys.all()).toHaveLength(1);
  });
});

describe('what an admin writes', () => {
  test.each([
    ['a rule with a control character', { tenant: 'a', rule: 'x\u001b[2J' }],
    ['a rule with half a character', { tenant: 'a', rule: '\ud800' }],
    ['a time beyond all calendars', { from: 9_000_000_000_000_000, rule: 'r' }],
  ])('is refused as %s', async (_name, body) => {
    const served = await beginServed();
    const { status } = await served.post('/v1/archive/holds', body, ADMIN_KEY.key);
    expect(status).toBe(400);
  });

  test('a query with a control character is refused', async () => {
    const served = await beginServed();
    expect((await served.get('/v1/archive/receipts?model=a%00b', ALICE.key)).status).toBe(400);
  });
});
