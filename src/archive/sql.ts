/** What the archive keeps in a column: bytes as bytes, times in seconds since 1970, everything else as text. */
export type SqlValue = string | number | Uint8Array | null;

export interface Row {
  readonly [column: string]: SqlValue;
}

/** One statement with `?` for its values; no text of ours has a question mark elsewhere. */
export interface Statement {
  readonly text: string;
  readonly values?: readonly SqlValue[];
}

/**
 * The database as the archive sees it. What fails because the database cannot be reached is
 * `ArchiveError('STORE_UNAVAILABLE')`.
 */
export interface Sql {
  readonly kind: 'embedded' | 'postgresql';
  query(statement: Statement): Promise<readonly Row[]>;
  /** All of them or none, durable when it resolves. */
  batch(statements: readonly Statement[]): Promise<void>;
  /** One at a time among all who share the database. The work itself uses `query` and `batch`. */
  exclusive<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Leaves nothing of what was overwritten in files of ours. PostgreSQL's own are its operator's to tidy. */
  forget(): Promise<void>;
  close(): Promise<void>;
}

/** The values of a row, by what their columns hold. A column of another type is a fault of ours, not of the caller. */
export function textOf(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw new TypeError(`column ${column} holds no text`);
  return value;
}

export function numberOf(row: Row, column: string): number {
  const value = row[column];
  if (typeof value !== 'number') throw new TypeError(`column ${column} holds no number`);
  return value;
}

export function bytesOf(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (!(value instanceof Uint8Array)) throw new TypeError(`column ${column} holds no bytes`);
  return value;
}

/** Undefined where the column is NULL. */
export function optional<Value>(
  row: Row,
  column: string,
  read: (row: Row, column: string) => Value,
): Value | undefined {
  return row[column] === null || row[column] === undefined ? undefined : read(row, column);
}

/** `(?, ?, ?)`, `count` times, for the values of many rows. */
export function placeholders(columns: number, count = 1): string {
  const one = `(${Array.from({ length: columns }, () => '?').join(', ')})`;
  return Array.from({ length: count }, () => one).join(', ');
}
