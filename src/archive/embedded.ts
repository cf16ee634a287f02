import { pathToFileURL } from 'node:url';
import type { Client, InStatement, ResultSet } from '@libsql/client';
import { ArchiveError } from './errors.ts';
import type { Row, Sql, SqlValue, Statement } from './sql.ts';

/** How long a statement waits for another process that writes the same file. */
const BUSY_TIMEOUT_MS = 5000;

/**
 * One file in the data folder, of this machine alone. Each batch is synced when it resolves; what is deleted is
 * overwritten, so that a wrapped key does not stay behind in a free page.
 */
export async function openEmbedded(path: string): Promise<Sql> {
  const { createClient } = await import('@libsql/client');
  const client = openClient(() =>
    createClient({ url: pathToFileURL(path).href, concurrency: 1, timeout: BUSY_TIMEOUT_MS }),
  );
  try {
    await prepare(client);
  } catch (error) {
    client.close();
    throw error;
  }
  return new EmbeddedSql(client);
}

/** A file that cannot be opened has no code in this library. */
function openClient(open: () => Client): Client {
  try {
    return open();
  } catch (error) {
    throw new ArchiveError('STORE_UNAVAILABLE', 'the file of the database cannot be opened', error);
  }
}

async function prepare(client: Client): Promise<void> {
  const settings = [
    'journal_mode = WAL',
    'synchronous = FULL',
    'secure_delete = ON',
    `busy_timeout = ${BUSY_TIMEOUT_MS}`,
  ];
  for (const setting of settings) await guarded(() => client.execute(`PRAGMA ${setting}`));
}

class EmbeddedSql implements Sql {
  readonly kind = 'embedded';
  readonly #client: Client;
  #last: Promise<unknown> = Promise.resolve();

  constructor(client: Client) {
    this.#client = client;
  }

  async query(statement: Statement): Promise<readonly Row[]> {
    return rowsOf(await guarded(() => this.#client.execute(toLibsql(statement))));
  }

  async batch(statements: readonly Statement[]): Promise<void> {
    if (statements.length === 0) return;
    await guarded(() => this.#client.batch(statements.map(toLibsql), 'write'));
  }

  exclusive<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** The write-ahead log still has the pages from before; a reader in another process puts this off. */
  async forget(): Promise<void> {
    await guarded(() => this.#client.execute('PRAGMA wal_checkpoint(TRUNCATE)'));
  }

  async close(): Promise<void> {
    await this.#last;
    this.#client.close();
  }
}

function toLibsql({ text, values = [] }: Statement): InStatement {
  return { sql: text, args: [...values] };
}

function rowsOf({ columns, rows }: ResultSet): readonly Row[] {
  return rows.map((row) => {
    const entries = columns.map((column, i): [string, SqlValue] => [column, toValue(row[i])]);
    return Object.fromEntries(entries);
  });
}

function toValue(value: unknown): SqlValue {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (value === null || typeof value === 'string' || typeof value === 'number') return value;
  throw new TypeError(`the database gave a ${typeof value}`);
}

/** Codes of SQLite for a disk or a file that fails; the rest are faults of ours. */
const UNAVAILABLE = /^SQLITE_(?:BUSY|LOCKED|IOERR|FULL|CANTOPEN|CORRUPT|NOTADB|READONLY|PERM)/;

async function guarded<Result>(work: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
    if (typeof code === 'string' && UNAVAILABLE.test(code)) {
      throw new ArchiveError('STORE_UNAVAILABLE', `${code}: ${String(message)}`, error);
    }
    throw error;
  }
}
