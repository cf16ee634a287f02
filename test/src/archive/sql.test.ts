import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { migrate, SCHEMA_VERSION, schemaVersion } from '../../../src/archive/migrations.ts';
import { openEmbedded } from '../../../src/archive/embedded.ts';
import { openPostgres } from '../../../src/archive/postgres.ts';
import type { Sql } from '../../../src/archive/sql.ts';
import { makeFolder } from '../../support/service.ts';
import { describeStores } from './stores.ts';

const NOW = Date.parse('2026-11-21T12:00:00Z');

describeStores('the database', (open) => {
  test('takes bytes, numbers, text and nothing, and gives them back', async () => {
    const sql = await open();
    await sql.batch([
      {
        text: `CREATE TABLE things (a ${sql.kind === 'postgresql' ? 'BYTEA' : 'BLOB'}, b BIGINT, c TEXT, d TEXT)`,
      },
      {
        text: 'INSERT INTO things VALUES (?, ?, ?, ?)',
        values: [Uint8Array.of(0, 255), 2 ** 52, 'é?', null],
      },
    ]);
    const [row] = await sql.query({ text: 'SELECT * FROM things WHERE c = ?', values: ['é?'] });
    expect(Buffer.from(row!['a'] as Uint8Array)).toEqual(Buffer.of(0, 255));
    expect(row).toMatchObject({ b: 2 ** 52, c: 'é?', d: null });
  });

  test('does all statements of a batch, or none', async () => {
    const sql = await open();
    await sql.batch([{ text: 'CREATE TABLE one (a BIGINT PRIMARY KEY)' }]);
    const insert = { text: 'INSERT INTO one VALUES (?)', values: [1] };
    await expect(sql.batch([insert, insert])).rejects.toThrow();
    expect(await sql.query({ text: 'SELECT a FROM one' })).toEqual([]);
  });

  test('does exclusive work one at a time', async () => {
    const sql = await open();
    const order: string[] = [];
    const work = (name: string) => async (): Promise<void> => {
      order.push(`${name} begins`);
      await sql.query({ text: 'SELECT 1 AS one' });
      order.push(`${name} ends`);
    };
    await Promise.all([sql.exclusive(work('a')), sql.exclusive(work('b'))]);
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
  });

  test('goes on after exclusive work that failed', async () => {
    const sql = await open();
    await expect(sql.exclusive(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await sql.exclusive(() => Promise.resolve(3))).toBe(3);
  });

  test('is migrated once, however often and from wherever it is asked for', async () => {
    const sql = await open();
    await Promise.all([migrate(sql, NOW), migrate(sql, NOW)]);
    expect(await schemaVersion(sql)).toBe(SCHEMA_VERSION);
    const applied = await sql.query({ text: 'SELECT version FROM archive_migrations' });
    expect(applied).toHaveLength(SCHEMA_VERSION);
  });

  test('of a later version is refused and left alone', async () => {
    const sql = await open();
    await migrate(sql, NOW);
    await sql.batch([
      {
        text: 'INSERT INTO archive_migrations VALUES (?, ?, ?)',
        values: [SCHEMA_VERSION + 1, 'later', 0],
      },
    ]);
    await expect(migrate(sql, NOW)).rejects.toMatchObject({ code: 'STORE_NEWER' });
  });
});

describe('what cannot be reached', () => {
  test('a folder that does not exist is named', async () => {
    const path = join(await makeFolder(), 'none', 'archive.db');
    await expect(openEmbedded(path)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  });

  test('a server that does not answer is named, without its password', async () => {
    const sql: Sql = await openPostgres('postgresql://user:secret@127.0.0.1:1/none');
    const asked = sql.query({ text: 'SELECT 1 AS one' });
    await expect(asked).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await expect(asked).rejects.not.toThrow('secret');
    await sql.close();
  });
});
