import { ArchiveError } from './errors.ts';
import { numberOf, type Sql, type Statement } from './sql.ts';

interface Migration {
  readonly name: string;
  /** `BYTES` stands for the type of bytes, `ASCII` for text that compares by its bytes, whatever the locale. */
  readonly statements: readonly string[];
}

/** In order; number 1 is the first. One that was released is never changed: the next one alters what it made. */
const MIGRATIONS: readonly Migration[] = [
  {
    name: 'instances, files, documents, entries, content, holds, acts, policies',
    statements: [
      `CREATE TABLE archive_instances (
        instance ASCII PRIMARY KEY, origin TEXT NOT NULL, created BIGINT NOT NULL, live INTEGER NOT NULL,
        size BIGINT NOT NULL, bundles BIGINT NOT NULL, documents BIGINT NOT NULL, complete INTEGER NOT NULL,
        predecessor TEXT, predecessor_size BIGINT, predecessor_root BYTES, predecessor_evidence BYTES,
        problem TEXT, seen BIGINT NOT NULL)`,
      `CREATE TABLE archive_files (
        instance ASCII NOT NULL, path ASCII NOT NULL, digest BYTES NOT NULL, size BIGINT NOT NULL,
        partial INTEGER NOT NULL, removed BIGINT, gone INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (instance, path))`,
      `CREATE INDEX archive_files_digest ON archive_files (digest)`,
      `CREATE TABLE archive_documents (
        instance ASCII NOT NULL, seq BIGINT NOT NULL, digest BYTES NOT NULL, time BIGINT NOT NULL,
        platform TEXT NOT NULL, chip TEXT, tcb TEXT, log_size BIGINT NOT NULL, final INTEGER NOT NULL,
        note BYTES, PRIMARY KEY (instance, seq))`,
      `CREATE INDEX archive_documents_size ON archive_documents (instance, log_size)`,
      `CREATE INDEX archive_documents_digest ON archive_documents (digest)`,
      `CREATE TABLE archive_devices (
        instance ASCII NOT NULL, seq BIGINT NOT NULL, place INTEGER NOT NULL, kind TEXT NOT NULL,
        serial TEXT NOT NULL, driver TEXT, vbios TEXT, PRIMARY KEY (instance, seq, place))`,
      `CREATE INDEX archive_devices_serial ON archive_devices (serial)`,
      `CREATE TABLE archive_entries (
        instance ASCII NOT NULL, idx BIGINT NOT NULL, kind TEXT NOT NULL, iat BIGINT NOT NULL,
        receipt BYTES, model TEXT, manifest BYTES, tenant TEXT, outcome TEXT, config BYTES,
        cited BIGINT, policy BYTES, PRIMARY KEY (instance, idx))`,
      `CREATE INDEX archive_entries_time ON archive_entries (iat, instance, idx)`,
      `CREATE INDEX archive_entries_receipt ON archive_entries (receipt)`,
      `CREATE INDEX archive_entries_tenant ON archive_entries (tenant, iat, instance, idx)`,
      `CREATE INDEX archive_entries_model ON archive_entries (model, iat)`,
      `CREATE TABLE archive_content (
        receipt BYTES PRIMARY KEY, tenant TEXT, time BIGINT NOT NULL, bytes BIGINT NOT NULL,
        blob BYTES NOT NULL, wrapped BYTES, key_id BYTES NOT NULL, erased BIGINT, act TEXT,
        gone INTEGER NOT NULL DEFAULT 0)`,
      `CREATE INDEX archive_content_time ON archive_content (time)`,
      `CREATE INDEX archive_content_tenant ON archive_content (tenant, time)`,
      `CREATE TABLE archive_holds (
        id TEXT PRIMARY KEY, placed BIGINT NOT NULL, actor TEXT NOT NULL, rule TEXT NOT NULL,
        receipt BYTES, tenant TEXT, time_from BIGINT, time_to BIGINT, lifted BIGINT,
        act TEXT NOT NULL, lift TEXT)`,
      `CREATE TABLE archive_acts (
        id TEXT PRIMARY KEY, time BIGINT NOT NULL, act TEXT NOT NULL, actor TEXT NOT NULL, rule TEXT NOT NULL,
        subject BYTES NOT NULL, count BIGINT NOT NULL, detail TEXT NOT NULL, state TEXT NOT NULL,
        instance ASCII, idx BIGINT)`,
      `CREATE INDEX archive_acts_subject ON archive_acts (subject)`,
      `CREATE UNIQUE INDEX archive_acts_entry ON archive_acts (instance, idx)`,
      `CREATE TABLE archive_policies (
        digest BYTES PRIMARY KEY, registered BIGINT NOT NULL, blob BYTES NOT NULL, act TEXT NOT NULL)`,
    ],
  },
];

export const SCHEMA_VERSION = MIGRATIONS.length;

const TABLE = `CREATE TABLE IF NOT EXISTS archive_migrations (
  version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied BIGINT NOT NULL)`;

/** Version of the schema in a database; 0 where there is none. */
export async function schemaVersion(sql: Sql): Promise<number> {
  const [row] = await sql.query({
    text: 'SELECT COALESCE(MAX(version), 0) AS version FROM archive_migrations',
  });
  return row ? numberOf(row, 'version') : 0;
}

/** Brings the schema to this version, each step whole or not at all. A newer one is refused and left alone. */
export function migrate(sql: Sql, now: number): Promise<void> {
  return sql.exclusive(async () => {
    await sql.batch([{ text: TABLE }]);
    const found = await schemaVersion(sql);
    if (found > SCHEMA_VERSION) {
      throw new ArchiveError('STORE_NEWER', `its schema is ${found}, this program knows ${SCHEMA_VERSION}`);
    }
    for (const [i, migration] of MIGRATIONS.entries()) {
      if (i >= found) await sql.batch(stepsOf(migration, i + 1, sql.kind, now));
    }
  });
}

function stepsOf(
  { name, statements }: Migration,
  version: number,
  kind: Sql['kind'],
  now: number,
): Statement[] {
  const [bytes, ascii] = kind === 'postgresql' ? ['BYTEA', 'TEXT COLLATE "C"'] : ['BLOB', 'TEXT'];
  return [
    ...statements.map((text) => ({ text: text.replaceAll('BYTES', bytes).replaceAll('ASCII', ascii) })),
    {
      text: 'INSERT INTO archive_migrations (version, name, applied) VALUES (?, ?, ?)',
      values: [version, name, Math.floor(now / 1000)],
    },
  ];
}
