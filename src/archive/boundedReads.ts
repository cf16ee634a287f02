import type { Row, Sql } from './sql.ts';

/** Queries of readers that run at once. Of the four connections to PostgreSQL some are left to what answers need. */
const AT_ONCE = 2;

/** The database for those who read from outside: however many ask, and however slow it is, they share few places. */
export function boundedReads(sql: Sql): Sql {
  const waiting: (() => void)[] = [];
  let running = 0;
  const place = (): Promise<void> => {
    if (running === AT_ONCE) return new Promise((resolve) => waiting.push(resolve));
    running++;
    return Promise.resolve();
  };
  const query: Sql['query'] = async (statement): Promise<readonly Row[]> => {
    await place();
    try {
      return await sql.query(statement);
    } finally {
      // The place is passed on, where somebody waits.
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
  return {
    kind: sql.kind,
    query,
    batch: (statements) => sql.batch(statements),
    exclusive: (work) => sql.exclusive(work),
    forget: () => sql.forget(),
    close: () => sql.close(),
  };
}
