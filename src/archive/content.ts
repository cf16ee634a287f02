import { randomBytes } from 'node:crypto';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { type BlobStore, digestOf } from './blobs.ts';
import { type ArchivedContent, encodeContent, parseContent } from './contentRecord.ts';
import type { ArchiveKey } from './envelope.ts';
import { ArchiveError } from './errors.ts';
import {
  bytesOf,
  numberOf,
  optional,
  placeholders,
  type Row,
  type Sql,
  type Statement,
  textOf,
} from './sql.ts';

export interface ContentParts {
  readonly sql: Sql;
  readonly blobs: BlobStore;
  readonly key: ArchiveKey;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** What the index says of the content of one receipt. */
export interface ContentRow {
  readonly receipt: Uint8Array;
  readonly tenant: string | undefined;
  /** When it was kept, seconds since 1970. */
  readonly time: number;
  readonly blob: Uint8Array;
  /** Undefined once it is erased. */
  readonly wrapped: Uint8Array | undefined;
}

interface Waiting {
  readonly statement: Statement;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Rows of one transaction. */
const MAX_ROWS = 500;

/** Requests, answers and their keys, each record encrypted by itself. */
export class ContentArchive {
  readonly #parts: ContentParts;
  #waiting: Waiting[] = [];
  #flushing = false;
  /** Bytes of the blob that could not be written last. */
  #refused: number | undefined;

  constructor(parts: ContentParts) {
    this.#parts = parts;
  }

  /** Durable when it resolves: only then may the answer go out. */
  async keep(content: ArchivedContent, tenant: string | undefined): Promise<void> {
    const { blobs, key, now } = this.#parts;
    const { sealed, wrapped } = key.seal(content.receipt, encodeContent(content));
    const blob = digestOf(sealed);
    try {
      await blobs.put(blob, sealed);
    } catch (error) {
      this.#refused = sealed.length;
      throw error;
    }
    const time = Math.floor(now() / 1000);
    await this.#insert({
      text: `INSERT INTO archive_content (receipt, tenant, time, bytes, blob, wrapped, key_id)
        VALUES ${placeholders(7)}`,
      values: [content.receipt, tenant ?? null, time, sealed.length, blob, wrapped, key.id],
    });
  }

  /**
   * Throws while blobs cannot be written, told by one as large as that which could not be: whoever waits for this to end
   * asks nothing meanwhile, so that no answer would show it.
   */
  async probe(): Promise<void> {
    if (this.#refused === undefined) return;
    const { blobs } = this.#parts;
    const bytes = randomBytes(this.#refused);
    const digest = digestOf(bytes);
    await blobs.put(digest, bytes);
    this.#refused = undefined;
    await blobs.remove(digest);
  }

  /** The content of a receipt as it was kept; the caller checks it against the receipt. */
  async open({ receipt, blob, wrapped }: ContentRow): Promise<ArchivedContent> {
    const { blobs, key } = this.#parts;
    if (!wrapped) throw new ArchiveError('ALREADY_ERASED', `the content of ${toHex(receipt)} was erased`);
    const sealed = await blobs.get(blob);
    if (!sealed) throw new ArchiveError('BLOB_DAMAGED', `the content of ${toHex(receipt)} is missing`);
    return parseContent(key.open(receipt, { sealed, wrapped }));
  }

  /** Answers that end together share a transaction. */
  #insert(statement: Statement): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ statement, resolve, reject });
      if (!this.#flushing) void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    this.#flushing = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MAX_ROWS);
      try {
        await this.#parts.sql.batch(batch.map(({ statement }) => statement));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#flushing = false;
  }
}

/** The content of a receipt in the index; undefined where none was kept. */
export async function findContent(sql: Sql, receipt: Uint8Array): Promise<ContentRow | undefined> {
  const [row] = await sql.query({
    text: 'SELECT receipt, tenant, time, blob, wrapped FROM archive_content WHERE receipt = ?',
    values: [receipt],
  });
  return row && toContentRow(row);
}

export function toContentRow(row: Row): ContentRow {
  return {
    receipt: bytesOf(row, 'receipt'),
    tenant: optional(row, 'tenant', textOf),
    time: numberOf(row, 'time'),
    blob: bytesOf(row, 'blob'),
    wrapped: optional(row, 'wrapped', bytesOf),
  };
}
