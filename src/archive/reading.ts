import { equalBytes, fromHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { commit } from '../../attestation/receipt/commitment.ts';
import { parseReceipt } from '../../attestation/receipt/receipt.ts';
import { type Acts, type ActRow, toActRow } from './acts.ts';
import { archivedBundle, archivedReceipt } from './bundles.ts';
import { type ContentArchive, type ContentRow, findContent } from './content.ts';
import { type ArchivedContent, checkContent } from './contentRecord.ts';
import { ArchiveError } from './errors.ts';
import { type FilesParts, readFile } from './files.ts';
import { findReceipt, queryReceipts, type ReceiptPage, type ReceiptQuery, type ReceiptRow } from './query.ts';

/** Who reads. A tenant without a name sees nothing: nobody authenticated it. */
export interface Reader {
  readonly role: 'tenant' | 'auditor' | 'admin';
  readonly name: string | undefined;
}

export interface ReadingParts extends FilesParts {
  /** Undefined where no key for content is set. */
  readonly content: ContentArchive | undefined;
  readonly acts: Acts;
}

const RECEIPT_ID = /^[0-9a-f]{32}$/;
const MAX_ACTS = 1000;

/**
 * Reads for a reader: the only way from outside to anything that the archive holds. A tenant's own rows are those with
 * its name; another's and none at all look the same.
 */
export class Reading {
  readonly #parts: ReadingParts;

  constructor(parts: ReadingParts) {
    this.#parts = parts;
  }

  query(reader: Reader, query: ReceiptQuery): Promise<ReceiptPage> {
    if (reader.role !== 'tenant') return queryReceipts(this.#parts.sql, query);
    const tenant = requireName(reader);
    if (query.tenant !== undefined && query.tenant !== tenant) {
      return Promise.resolve({ receipts: [], next: undefined });
    }
    return queryReceipts(this.#parts.sql, { ...query, tenant });
  }

  row(reader: Reader, id: string): Promise<ReceiptRow> {
    return this.#visible(reader, id);
  }

  async receipt(reader: Reader, id: string): Promise<Uint8Array> {
    return archivedReceipt(this.#parts, await this.#visible(reader, id));
  }

  async bundle(reader: Reader, id: string): Promise<Uint8Array> {
    return archivedBundle(this.#parts, await this.#visible(reader, id));
  }

  /**
   * Content of a receipt, for its tenant or an admin, checked against what the receipt commits to, the tenant among it.
   * That an admin opened it is logged first.
   */
  async content(reader: Reader, id: string, rule: string): Promise<ArchivedContent> {
    if (reader.role === 'auditor') throw notFound();
    const row = await this.#visible(reader, id);
    await this.#findContent(id);
    if (reader.role === 'tenant') return this.#openContent(row, requireName(reader));
    const { sql, acts } = this.#parts;
    const detail = { act: 'admin', what: 'content-opened' } as const;
    const actor = reader.name ?? 'admin';
    // Erasures wait meanwhile: what is looked at was not erased before.
    return sql.exclusive(async () => {
      await this.#findContent(id);
      await acts.perform({ actor, rule, ids: [fromHex(id)], detail });
      return this.#openContent(row, undefined);
    });
  }

  /** Gives a receipt whose tenant a crash took away to the one that can open its commitment. */
  async claim(reader: Reader, id: string, k: Uint8Array): Promise<void> {
    const tenant = requireName(reader);
    const row = RECEIPT_ID.test(id) ? await findReceipt(this.#parts.sql, fromHex(id)) : undefined;
    if (!row || reader.role !== 'tenant') throw notFound();
    if (row.tenant === tenant) return;
    if (row.tenant !== undefined) throw notFound();
    const { claims } = parseReceipt(await archivedReceipt(this.#parts, row));
    if (!claims.tenant || !equalBytes(openTenant(k, claims.id, tenant), claims.tenant)) {
      throw new ArchiveError('CLAIM_REFUSED', 'the key does not open the receipt to this tenant');
    }
    await this.#parts.sql.batch([
      {
        text: 'UPDATE archive_entries SET tenant = ? WHERE receipt = ? AND tenant IS NULL',
        values: [tenant, claims.id],
      },
    ]);
  }

  /** What an act is about, as `acts/<subject>.cbor`; not for tenants. Undefined where no such act is of this instance. */
  actIds(instance: string, subject: string): Promise<Uint8Array | undefined> {
    return readFile(this.#parts, instance, `acts/${subject}.cbor`);
  }

  /** The newest acts; not for tenants. */
  async acts(): Promise<readonly ActRow[]> {
    const rows = await this.#parts.sql.query({
      text: `SELECT * FROM archive_acts ORDER BY time DESC, id LIMIT ${MAX_ACTS}`,
    });
    return rows.map(toActRow);
  }

  async #findContent(id: string): Promise<ContentRow> {
    const { sql, content } = this.#parts;
    const found = await findContent(sql, fromHex(id));
    if (!found) throw new ArchiveError('NOT_FOUND', 'no content was kept of this receipt');
    if (!content) throw new ArchiveError('CONTENT_KEY_MISSING', 'no key for content is set');
    if (!found.wrapped) throw new ArchiveError('ALREADY_ERASED', 'the content of this receipt was erased');
    return found;
  }

  async #openContent(row: ReceiptRow, tenant: string | undefined): Promise<ArchivedContent> {
    const found = await this.#findContent(row.id);
    const opened = await this.#parts.content?.open(found);
    if (!opened) throw new ArchiveError('CONTENT_KEY_MISSING', 'no key for content is set');
    checkContent(opened, parseReceipt(await archivedReceipt(this.#parts, row)).claims, tenant);
    return opened;
  }

  async #visible(reader: Reader, id: string): Promise<ReceiptRow> {
    if (!RECEIPT_ID.test(id)) throw notFound();
    const row = await findReceipt(this.#parts.sql, fromHex(id));
    if (!row) throw notFound();
    if (reader.role === 'tenant' && row.tenant !== requireName(reader)) throw notFound();
    return row;
  }
}

function requireName({ name }: Reader): string {
  if (name === undefined) throw notFound();
  return name;
}

function notFound(): ArchiveError {
  return new ArchiveError('NOT_FOUND', 'the archive has no such receipt for this key');
}

function openTenant(k: Uint8Array, receipt: Uint8Array, tenant: string): Uint8Array {
  try {
    return commit(k, receipt, 'tenant', 0, utf8(tenant), nodeCrypto);
  } catch (error) {
    if (error instanceof Refusal) throw new ArchiveError('CLAIM_REFUSED', error.message, error);
    throw error;
  }
}
