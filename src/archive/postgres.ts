import type { Pool, PoolClient } from 'pg';
import { ArchiveError } from './errors.ts';
import type { Row, Sql, SqlValue, Statement } from './sql.ts';

const CONNECTIONS = 4;
const CONNECT_TIMEOUT_MS = 5000;
/** A query that takes longer than this is given up; a batch of the mirror takes milliseconds. */
const QUERY_TIMEOUT_MS = 30_000;
/** Advisory lock of all archives in one database: the first six bytes of SHA-256("vouchsafe/archive-lock/1"). */
const LOCK = '253149577228729';

/** A database that several nodes share. The URL may hold a password: it is never part of an error. */
export async function openPostgres(url: string): Promise<Sql> {
  const { default: pg } = await import('pg');
  const pool = new pg.Pool({
    connectionString: url,
    max: CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    // The server gives up, too: it does not notice that nobody waits any more.
    statement_timeout: QUERY_TIMEOUT_MS,
    application_name: 'vouchsafe',
    // int8 as a number: ours stay below 2^53.
    types: {
      getTypeParser: (oid, format) =>
        oid === pg.types.builtins.INT8
          ? Number
          : (pg.types.getTypeParser(oid, format) as (value: string) => unknown),
    },
  });
  // An idle connection that breaks is replaced by the next query; without a listener it would end the process.
  pool.on('error', () => undefined);
  return new PostgresSql(pool);
}

class PostgresSql implements Sql {
  readonly kind = 'postgresql';
  readonly #pool: Pool;
  /** Waits of this process happen here, not on connections. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  query(statement: Statement): Promise<readonly Row[]> {
    return guarded(async () => (await this.#pool.query<Row>(numbered(statement))).rows);
  }

  batch(statements: readonly Statement[]): Promise<void> {
    if (statements.length === 0) return Promise.resolve();
    return this.#withClient(async (client) => {
      await client.query('BEGIN');
      for (const statement of statements) await client.query(numbered(statement));
      await client.query('COMMIT');
    });
  }

  exclusive<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(() => this.#locked(work));
    this.#last = result.catch(() => undefined);
    return result;
  }

  forget(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    await this.#last;
    await this.#pool.end();
  }

  /** The lock goes with its connection, so that a node that dies leaves none behind. */
  async #locked<Result>(work: () => Promise<Result>): Promise<Result> {
    let failure: unknown;
    const client = await guarded(() => this.#pool.connect());
    client.on('error', ignore);
    try {
      await guarded(() => client.query(`SELECT pg_advisory_lock(${LOCK})`));
      const result = await work();
      await guarded(() => client.query(`SELECT pg_advisory_unlock(${LOCK})`));
      return result;
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      client.off('error', ignore);
      client.release(failure !== undefined);
    }
  }

  async #withClient(work: (client: PoolClient) => Promise<void>): Promise<void> {
    let failure: unknown;
    const client = await guarded(() => this.#pool.connect());
    client.on('error', ignore);
    try {
      await guarded(() => work(client));
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      client.off('error', ignore);
      // Closing the connection rolls back what it began.
      client.release(failure !== undefined);
    }
  }
}

/** The query under way fails with the same error. */
function ignore(): void {
  return undefined;
}

const texts = new Map<string, string>();

/** `?` as `$1`, `$2`: PostgreSQL's own placeholders. */
function numbered({ text, values = [] }: Statement): { readonly text: string; readonly values: SqlValue[] } {
  let known = texts.get(text);
  if (known === undefined) {
    let count = 0;
    known = text.replaceAll('?', () => `$${String(++count)}`);
    // Texts of ours are few, but the number of rows in an insert varies.
    if (texts.size < 2000) texts.set(text, known);
  }
  return { text: known, values: [...values] };
}

/** SQLSTATE classes of faults in our statements; anything else is the server, the disk or the way to it. */
const OURS = /^(?:0A|22|23|42)/;

async function guarded<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    if (error instanceof ArchiveError || (typeof code === 'string' && OURS.test(code))) throw error;
    const reason = typeof code === 'string' ? code : 'the connection ended';
    throw new ArchiveError('STORE_UNAVAILABLE', `PostgreSQL does not answer: ${reason}`, error);
  }
}
