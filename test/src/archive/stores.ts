import { join } from 'node:path';
import { afterEach, beforeAll, describe, test } from '@jest/globals';
import { openEmbedded } from '../../../src/archive/embedded.ts';
import { openPostgres } from '../../../src/archive/postgres.ts';
import type { Sql } from '../../../src/archive/sql.ts';
import { hasPostgres, startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { makeFolder } from '../../support/service.ts';

/** The same tests on both databases: `open` gives an empty one, closed after the test. */
export function describeStores(name: string, tests: (open: () => Promise<Sql>) => void): void {
  const opened: Sql[] = [];
  const keeping = (open: () => Promise<Sql>) => async (): Promise<Sql> => {
    const sql = await open();
    opened.push(sql);
    return sql;
  };
  afterEach(async () => {
    for (const sql of opened.splice(0)) await sql.close();
  });

  describe(`${name}, embedded`, () => {
    tests(keeping(async () => openEmbedded(join(await makeFolder(), 'archive.db'))));
  });

  if (!hasPostgres) {
    test.skip(`${name}, PostgreSQL: skipped: no PostgreSQL`, () => undefined);
    return;
  }
  describe(`${name}, PostgreSQL`, () => {
    let server: TestPostgres;
    beforeAll(async () => {
      server = await startPostgres();
    });
    tests(keeping(async () => openPostgres(await server.database())));
  });
}
