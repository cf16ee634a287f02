import { utf8 } from '../../attestation/bytes/bytes.ts';
import { TILE_WIDTH } from '../../attestation/log/tiles.ts';
import type { Acts } from './acts.ts';
import type { BlobStore } from './blobs.ts';
import { heldCondition } from './holds.ts';
import { bytesOf, numberOf, type Sql, type Statement, textOf } from './sql.ts';

/** Bundles of one act. */
const MAX_BUNDLES = 256;
const DAY_SECONDS = 86_400;

export interface ExpiryParts {
  readonly sql: Sql;
  readonly blobs: BlobStore;
  readonly acts: Acts;
  readonly now: () => number;
}

interface Place {
  readonly instance: string;
  readonly bundle: number;
}

/**
 * Entry bundles whose newest receipt is beyond the maximum retention: whole bundles, as the tree above them stays and a
 * bundle is the smallest thing that can be taken away. Not the bundle that is still being written, and none with a
 * receipt under a hold. The first one stays, as its `open` record ties the instances together, and each with an act:
 * without the acts nothing explains what is gone. Resolves with the number of bundles.
 */
export async function expireReceipts(
  parts: ExpiryParts,
  { maxDays, actor, rule }: { readonly maxDays: number; readonly actor: string; readonly rule: string },
): Promise<number> {
  const { sql, blobs, acts, now } = parts;
  const before = Math.floor(now() / 1000) - maxDays * DAY_SECONDS;
  const count = await sql.exclusive(async () => {
    let expired = 0;
    let after: Place = { instance: '', bundle: -1 };
    for (;;) {
      const candidates = await findCandidates(sql, before, after);
      const last = candidates.at(-1);
      if (!last) return expired;
      after = last;
      const due: Place[] = [];
      for (const place of candidates) if (await isDue(sql, place, before)) due.push(place);
      for (const [instance, bundles] of byInstance(due)) {
        const ids = bundles.map((bundle) => utf8(`${instance}/entries/${bundle}`));
        const detail = { act: 'receipts-expired', instance, bundles } as const;
        await acts.perform({ actor, rule, ids, detail });
        expired += bundles.length;
      }
    }
  });
  await removeExpiredBlobs(sql, blobs);
  return count;
}

/** Bundles that are closed and hold an old receipt. */
async function findCandidates(sql: Sql, before: number, after: Place): Promise<readonly Place[]> {
  const rows = await sql.query({
    text: `SELECT DISTINCT e.instance, e.idx / ${TILE_WIDTH} AS bundle FROM archive_entries e
      JOIN archive_instances i ON i.instance = e.instance
      WHERE e.kind = 'receipt' AND e.iat < ? AND e.idx >= ${TILE_WIDTH} AND (e.idx / ${TILE_WIDTH} < i.bundles OR i.complete = 1)
      AND (e.instance, e.idx / ${TILE_WIDTH}) > (?, ?) ORDER BY e.instance, bundle LIMIT ${MAX_BUNDLES}`,
    values: [before, after.instance, after.bundle],
  });
  return rows.map((row) => ({ instance: textOf(row, 'instance'), bundle: numberOf(row, 'bundle') }));
}

async function isDue(sql: Sql, { instance, bundle }: Place, before: number): Promise<boolean> {
  const held = heldCondition('e.receipt', 'e.tenant', 'e.iat');
  const [row] = await sql.query({
    text: `SELECT COUNT(*) AS kept FROM archive_entries e WHERE e.instance = ? AND e.idx >= ? AND e.idx < ?
      AND (e.kind = 'act' OR (e.kind = 'receipt' AND (e.iat >= ? OR ${held})))`,
    values: [instance, bundle * TILE_WIDTH, (bundle + 1) * TILE_WIDTH, before],
  });
  return row !== undefined && numberOf(row, 'kept') === 0;
}

function byInstance(places: readonly Place[]): ReadonlyMap<string, readonly number[]> {
  const bundles = new Map<string, number[]>();
  for (const { instance, bundle } of places) {
    const known = bundles.get(instance) ?? [];
    known.push(bundle);
    bundles.set(instance, known);
  }
  return bundles;
}

/** Blobs of files that an act removed, those of an act that a crash interrupted among them. */
export async function removeExpiredBlobs(sql: Sql, blobs: BlobStore): Promise<void> {
  for (;;) {
    const rows = await sql.query({
      text: `SELECT instance, path, digest FROM archive_files WHERE removed IS NOT NULL AND gone = 0
        LIMIT ${MAX_BUNDLES}`,
    });
    if (rows.length === 0) return;
    const gone: Statement[] = [];
    for (const row of rows) {
      await blobs.remove(bytesOf(row, 'digest'));
      const values = [textOf(row, 'instance'), textOf(row, 'path')];
      gone.push({ text: 'UPDATE archive_files SET gone = 1 WHERE instance = ? AND path = ?', values });
    }
    await sql.batch(gone);
  }
}
