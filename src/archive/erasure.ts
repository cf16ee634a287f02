import { toHex } from '../../attestation/bytes/bytes.ts';
import type { Acts } from './acts.ts';
import type { BlobStore } from './blobs.ts';
import type { HoldScope } from './effects.ts';
import { ArchiveError } from './errors.ts';
import { heldCondition } from './holds.ts';
import { bytesOf, numberOf, type Sql, type SqlValue, type Statement } from './sql.ts';

/** Records of one act. */
const MAX_RECORDS = 1000;
const DAY_SECONDS = 86_400;

export interface ErasureParts {
  readonly sql: Sql;
  readonly blobs: BlobStore;
  readonly acts: Acts;
  /** Content is kept for at least so many days. */
  readonly minDays: number;
  readonly now: () => number;
}

export interface ErasureRequest {
  readonly actor: string;
  readonly rule: string;
  /** What is erased: what all of its members match. */
  readonly scope: HoldScope;
}

/**
 * Erases content with its `k`: the wrapped key goes first, which makes every copy of the blob noise, then the blob. What
 * is under a hold or below the minimum refuses the whole request. Resolves with the number of records.
 */
export async function eraseContent(parts: ErasureParts, request: ErasureRequest): Promise<number> {
  const { sql } = parts;
  const scope = scopeCondition(request.scope);
  const latest = Math.floor(parts.now() / 1000) - parts.minDays * DAY_SECONDS;
  // Answers go on meanwhile: what comes after this second is not erased with the rest, and not without an end.
  const due = { text: `${scope.text} AND c.time <= ?`, values: [...scope.values, latest] };
  const erased = await sql.exclusive(async () => {
    await requireErasable(parts, scope, { asked: request.scope, latest });
    return eraseAll(parts, due, request);
  });
  await removeErasedBlobs(sql, parts.blobs);
  return erased;
}

/** Content beyond the maximum retention and under no hold. */
export async function expireContent(
  parts: ErasureParts,
  { maxDays, actor, rule }: { readonly maxDays: number; readonly actor: string; readonly rule: string },
): Promise<number> {
  const { sql, blobs, now } = parts;
  const before = Math.floor(now() / 1000) - maxDays * DAY_SECONDS;
  const scope = {
    text: `c.time < ? AND NOT ${heldCondition('c.receipt', 'c.tenant', 'c.time')}`,
    values: [before],
  };
  const erased = await sql.exclusive(() => eraseAll(parts, scope, { actor, rule }));
  await removeErasedBlobs(sql, blobs);
  return erased;
}

/** Blobs whose key is gone already, those of an erasure that a crash interrupted among them. */
export async function removeErasedBlobs(sql: Sql, blobs: BlobStore): Promise<void> {
  for (let isFirst = true; ; isFirst = false) {
    const rows = await sql.query({
      text: `SELECT receipt, blob FROM archive_content WHERE erased IS NOT NULL AND gone = 0 LIMIT ${MAX_RECORDS}`,
    });
    if (rows.length === 0) {
      if (!isFirst) await sql.forget();
      return;
    }
    const gone: Statement[] = [];
    for (const row of rows) {
      await blobs.remove(bytesOf(row, 'blob'));
      gone.push({
        text: 'UPDATE archive_content SET gone = 1 WHERE receipt = ?',
        values: [bytesOf(row, 'receipt')],
      });
    }
    await sql.batch(gone);
  }
}

interface Condition {
  readonly text: string;
  readonly values: readonly SqlValue[];
}

async function eraseAll(
  { sql, acts }: ErasureParts,
  scope: Condition,
  { actor, rule }: Pick<ErasureRequest, 'actor' | 'rule'>,
): Promise<number> {
  let count = 0;
  for (;;) {
    const rows = await sql.query({
      text: `SELECT c.receipt FROM archive_content c WHERE c.wrapped IS NOT NULL AND ${scope.text}
        ORDER BY c.time, c.receipt LIMIT ${MAX_RECORDS}`,
      values: scope.values,
    });
    if (rows.length === 0) return count;
    const ids = rows.map((row) => bytesOf(row, 'receipt'));
    const receipts = ids.map(toHex);
    await acts.perform({ actor, rule, ids, detail: { act: 'content-erased', receipts } });
    count += ids.length;
  }
}

async function requireErasable(
  { sql, minDays }: ErasureParts,
  scope: Condition,
  { asked, latest }: { readonly asked: HoldScope; readonly latest: number },
): Promise<void> {
  const [row] = await sql.query({
    text: `SELECT COUNT(*) AS found,
      COALESCE(SUM(CASE WHEN c.wrapped IS NULL THEN 1 ELSE 0 END), 0) AS erased,
      COALESCE(SUM(CASE WHEN c.time > ? THEN 1 ELSE 0 END), 0) AS young,
      COALESCE(SUM(CASE WHEN ${heldCondition('c.receipt', 'c.tenant', 'c.time')} THEN 1 ELSE 0 END), 0) AS held
      FROM archive_content c WHERE ${scope.text}`,
    values: [latest, ...scope.values],
  });
  const count = (column: string): number => (row ? numberOf(row, column) : 0);
  if (count('found') === 0) throw new ArchiveError('NOT_FOUND', 'no content is kept of that');
  if (count('held') > 0)
    throw new ArchiveError('UNDER_HOLD', `a hold keeps ${count('held')} records of that`);
  if (count('young') > 0) {
    throw new ArchiveError('RETENTION_MINIMUM', `${count('young')} records are younger than ${minDays} days`);
  }
  if (asked.receipt !== undefined && count('erased') > 0) {
    throw new ArchiveError('ALREADY_ERASED', 'its content was erased before');
  }
}

function scopeCondition({ receipt, tenant, from, to }: HoldScope): Condition {
  const parts: (readonly [string, SqlValue])[] = [];
  if (receipt !== undefined) parts.push(['c.receipt = ?', Buffer.from(receipt, 'hex')]);
  if (tenant !== undefined) parts.push(['c.tenant = ?', tenant]);
  if (from !== undefined) parts.push(['c.time >= ?', from]);
  if (to !== undefined) parts.push(['c.time < ?', to]);
  if (parts.length === 0) throw new ArchiveError('QUERY_INVALID', 'the erasure names nothing');
  return { text: parts.map(([text]) => text).join(' AND '), values: parts.map(([, value]) => value) };
}
