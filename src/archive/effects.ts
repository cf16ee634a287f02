import { fromHex } from '../../attestation/bytes/bytes.ts';
import { TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';
import { partialRange } from './files.ts';
import { placeholders, type Statement } from './sql.ts';

/** What a legal hold keeps: what all of its members match. */
export interface HoldScope {
  /** Receipt id, 32 hex digits. */
  readonly receipt?: string | undefined;
  readonly tenant?: string | undefined;
  /** Seconds since 1970, inclusive. */
  readonly from?: number | undefined;
  /** Exclusive. */
  readonly to?: number | undefined;
}

/** What an act does here: the log has a digest of it, the archive the whole, so that it can be done after a crash. */
export type Detail =
  | { readonly act: 'hold-placed'; readonly hold: string; readonly scope: HoldScope }
  | { readonly act: 'hold-lifted'; readonly hold: string }
  | { readonly act: 'content-erased'; readonly receipts: readonly string[] }
  | { readonly act: 'receipts-expired'; readonly instance: string; readonly bundles: readonly number[] }
  | { readonly act: 'policy-registered'; readonly policy: string; readonly blob: string }
  | { readonly act: 'admin'; readonly what: string };

interface Performed {
  readonly id: string;
  readonly time: number;
  readonly actor: string;
  readonly rule: string;
}

/** Written by this program and read back after a crash. */
export function parseDetail(text: string): Detail {
  return JSON.parse(text) as Detail;
}

/** What changes in the database: doing it twice is doing it once. */
export function effectOf(detail: Detail, { id, time, actor, rule }: Performed): readonly Statement[] {
  switch (detail.act) {
    case 'hold-placed': {
      const { hold, scope } = detail;
      const receipt = scope.receipt === undefined ? null : fromHex(scope.receipt);
      return [
        {
          text: `INSERT INTO archive_holds (id, placed, actor, rule, receipt, tenant, time_from, time_to, act)
            VALUES ${placeholders(9)} ON CONFLICT DO NOTHING`,
          values: [
            hold,
            time,
            actor,
            rule,
            receipt,
            scope.tenant ?? null,
            scope.from ?? null,
            scope.to ?? null,
            id,
          ],
        },
      ];
    }
    case 'hold-lifted':
      return [
        {
          text: 'UPDATE archive_holds SET lifted = ?, lift = ? WHERE id = ? AND lifted IS NULL',
          values: [time, id, detail.hold],
        },
      ];
    case 'content-erased':
      return detail.receipts.map((receipt) => ({
        text: `UPDATE archive_content SET wrapped = NULL, erased = ?, act = ?
          WHERE receipt = ? AND wrapped IS NOT NULL`,
        values: [time, id, fromHex(receipt)],
      }));
    case 'receipts-expired':
      return detail.bundles.flatMap((bundle) => expireStatements(detail.instance, bundle, time));
    case 'policy-registered':
      return [
        {
          text: `INSERT INTO archive_policies (digest, registered, blob, act)
            VALUES ${placeholders(4)} ON CONFLICT (digest) DO UPDATE SET registered = excluded.registered,
            act = excluded.act`,
          values: [fromHex(detail.policy), time, fromHex(detail.blob), id],
        },
      ];
    case 'admin':
      return [];
  }
}

/** The bundle and the rows of its receipts; hashes and records about the log itself stay. */
function expireStatements(instance: string, bundle: number, time: number): readonly Statement[] {
  const path = tilePath({ level: 'entries', index: bundle, width: TILE_WIDTH });
  const start = bundle * TILE_WIDTH;
  return [
    {
      text: `UPDATE archive_files SET removed = ? WHERE instance = ? AND (path = ? OR (path > ? AND path < ?))
        AND removed IS NULL`,
      values: [time, instance, path, ...partialRange(path)],
    },
    {
      text: `DELETE FROM archive_entries WHERE instance = ? AND idx >= ? AND idx < ? AND kind = 'receipt'`,
      values: [instance, start, start + TILE_WIDTH],
    },
  ];
}

/** Name of a scope for people. */
export function scopeText({ receipt, tenant, from, to }: HoldScope): string {
  const time = (seconds: number): string => new Date(seconds * 1000).toISOString();
  return [
    ...(receipt === undefined ? [] : [`receipt ${receipt}`]),
    ...(tenant === undefined ? [] : [`tenant ${tenant}`]),
    ...(from === undefined ? [] : [`from ${time(from)}`]),
    ...(to === undefined ? [] : [`before ${time(to)}`]),
  ].join(', ');
}
