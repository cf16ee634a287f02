import { fromHex, toHex } from '../../attestation/bytes/bytes.ts';
import { OUTCOMES, type Outcome } from '../../attestation/receipt/claims.ts';
import { ArchiveError } from './errors.ts';
import { bytesOf, numberOf, optional, type Row, type Sql, type SqlValue, textOf } from './sql.ts';

export const MAX_LIMIT = 1000;
const DEFAULT_LIMIT = 100;

/** What is asked for: receipts that all of its members match. */
export interface ReceiptQuery {
  /** Seconds since 1970 by the guest's clock, inclusive. */
  readonly from?: number | undefined;
  /** Exclusive. */
  readonly to?: number | undefined;
  readonly model?: string | undefined;
  readonly tenant?: string | undefined;
  /** Leaf serial of a device in lower-case hex. */
  readonly device?: string | undefined;
  /** Beginning of the TCB text. */
  readonly tcb?: string | undefined;
  readonly chip?: string | undefined;
  readonly platform?: string | undefined;
  /** Digest of the policy that was registered when the receipt was indexed, hex. */
  readonly policy?: string | undefined;
  readonly outcome?: Outcome | undefined;
  readonly instance?: string | undefined;
  /** 1 to 1000; 100 without it. */
  readonly limit?: number | undefined;
  /** `next` of the page before. */
  readonly cursor?: string | undefined;
}

/** A receipt as the index has it: what it says of itself, unverified, and where it is. */
export interface ReceiptRow {
  readonly id: string;
  readonly instance: string;
  readonly index: number;
  readonly issuedAt: number;
  readonly model: string;
  readonly manifest: string;
  readonly config: string;
  /** Undefined where nobody authenticated, or where a crash took the name away. */
  readonly tenant: string | undefined;
  readonly outcome: string;
  /** The evidence that it cites; undefined where that is not in the archive. */
  readonly evidence: CitedEvidence | undefined;
  /** Number of the first evidence document that covers it. */
  readonly covering: number | undefined;
  readonly policy: string | undefined;
  readonly content: 'none' | 'kept' | 'erased';
}

export interface CitedEvidence {
  readonly seq: number;
  readonly digest: string;
  readonly platform: string;
  readonly chip: string | undefined;
  readonly tcb: string | undefined;
}

export interface ReceiptPage {
  readonly receipts: readonly ReceiptRow[];
  /** Undefined at the end. */
  readonly next: string | undefined;
}

const COLUMNS = `e.instance, e.idx, e.iat, e.receipt, e.model, e.manifest, e.config, e.tenant, e.outcome, e.cited,
  e.policy, d.digest AS evidence, d.platform, d.chip, d.tcb,
  (SELECT MIN(b.seq) FROM archive_documents b WHERE b.instance = e.instance AND b.log_size > e.idx) AS covering,
  CASE WHEN c.receipt IS NULL THEN 'none' WHEN c.wrapped IS NULL THEN 'erased' ELSE 'kept' END AS content`;
const TABLES = `archive_entries e
  LEFT JOIN archive_documents d ON d.instance = e.instance AND d.seq = e.cited
  LEFT JOIN archive_content c ON c.receipt = e.receipt`;

/** Oldest first, in pages. */
export async function queryReceipts(sql: Sql, query: ReceiptQuery): Promise<ReceiptPage> {
  const limit = query.limit ?? DEFAULT_LIMIT;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new ArchiveError('QUERY_INVALID', `limit is 1 to ${MAX_LIMIT}`);
  }
  const conditions = conditionsOf(query);
  const text = `SELECT ${COLUMNS} FROM ${TABLES} WHERE ${conditions.map(([part]) => part).join(' AND ')}
    ORDER BY e.iat, e.instance, e.idx LIMIT ?`;
  const rows = await sql.query({ text, values: [...conditions.flatMap(([, values]) => values), limit + 1] });
  const receipts = rows.slice(0, limit).map(toReceiptRow);
  const last = receipts.at(-1);
  return { receipts, next: rows.length > limit && last ? encodeCursor(last) : undefined };
}

/** A receipt by its id; undefined where the archive does not have it. */
export async function findReceipt(sql: Sql, id: Uint8Array): Promise<ReceiptRow | undefined> {
  const [row] = await sql.query({
    text: `SELECT ${COLUMNS} FROM ${TABLES} WHERE e.receipt = ? AND e.kind = 'receipt' ORDER BY e.instance, e.idx LIMIT 1`,
    values: [id],
  });
  return row && toReceiptRow(row);
}

type Condition = readonly [text: string, values: readonly SqlValue[]];

function conditionsOf(query: ReceiptQuery): readonly Condition[] {
  const { from, to, cursor } = query;
  const found: Condition[] = [[`e.kind = 'receipt'`, []]];
  if (from !== undefined) found.push(['e.iat >= ?', [from]]);
  if (to !== undefined) found.push(['e.iat < ?', [to]]);
  if (cursor !== undefined) found.push(['(e.iat, e.instance, e.idx) > (?, ?, ?)', decodeCursor(cursor)]);
  return [...found, ...exactConditions(query), ...evidenceConditions(query)];
}

function exactConditions({ model, tenant, outcome, instance, policy }: ReceiptQuery): readonly Condition[] {
  const found: Condition[] = [];
  if (model !== undefined) found.push(['e.model = ?', [model]]);
  if (tenant !== undefined) found.push(['e.tenant = ?', [tenant]]);
  if (instance !== undefined) found.push(['e.instance = ?', [instance]]);
  if (policy !== undefined) found.push(['e.policy = ?', [hexDigest(policy, 'policy')]]);
  if (outcome !== undefined) {
    if (!OUTCOMES.includes(outcome)) throw new ArchiveError('QUERY_INVALID', 'outcome is not known');
    found.push(['e.outcome = ?', [outcome]]);
  }
  return found;
}

function evidenceConditions({ device, tcb, chip, platform }: ReceiptQuery): readonly Condition[] {
  const found: Condition[] = [];
  if (platform !== undefined) found.push(['d.platform = ?', [platform]]);
  if (chip !== undefined) found.push(['d.chip = ?', [chip]]);
  if (tcb !== undefined) {
    found.push(['SUBSTR(d.tcb, 1, LENGTH(CAST(? AS TEXT))) = CAST(? AS TEXT)', [tcb, tcb]]);
  }
  if (device !== undefined) {
    const text = `EXISTS (SELECT 1 FROM archive_devices v
      WHERE v.instance = e.instance AND v.seq = e.cited AND v.serial = ?)`;
    found.push([text, [device]]);
  }
  return found;
}

function hexDigest(text: string, name: string): Uint8Array {
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new ArchiveError('QUERY_INVALID', `${name} is no SHA-256 in lower-case hex`);
  }
  return fromHex(text);
}

function encodeCursor({ issuedAt, instance, index }: ReceiptRow): string {
  return Buffer.from(`${issuedAt}.${instance}.${index}`).toString('base64url');
}

function decodeCursor(cursor: string): readonly SqlValue[] {
  const text = cursor.length > 128 ? '' : Buffer.from(cursor, 'base64url').toString('latin1');
  const [, iat, instance, index] = /^(\d{1,15})\.([0-9a-f]{32})\.(\d{1,15})$/.exec(text) ?? [];
  if (iat === undefined || instance === undefined || index === undefined) {
    throw new ArchiveError('QUERY_INVALID', 'the cursor is not one of a page before');
  }
  return [Number(iat), instance, Number(index)];
}

function toReceiptRow(row: Row): ReceiptRow {
  const policy = optional(row, 'policy', bytesOf);
  return {
    id: toHex(bytesOf(row, 'receipt')),
    instance: textOf(row, 'instance'),
    index: numberOf(row, 'idx'),
    issuedAt: numberOf(row, 'iat'),
    model: textOf(row, 'model'),
    manifest: toHex(bytesOf(row, 'manifest')),
    config: toHex(bytesOf(row, 'config')),
    tenant: optional(row, 'tenant', textOf),
    outcome: textOf(row, 'outcome'),
    evidence: optional(row, 'evidence', toEvidence),
    covering: optional(row, 'covering', numberOf),
    policy: policy && toHex(policy),
    content: textOf(row, 'content') as ReceiptRow['content'],
  };
}

function toEvidence(row: Row): CitedEvidence {
  return {
    seq: numberOf(row, 'cited'),
    digest: toHex(bytesOf(row, 'evidence')),
    platform: textOf(row, 'platform'),
    chip: optional(row, 'chip', textOf),
    tcb: optional(row, 'tcb', textOf),
  };
}
