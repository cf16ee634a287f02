import { randomBytes } from 'node:crypto';
import { fromHex, toHex } from '../../attestation/bytes/bytes.ts';
import { type Acts, idBytes } from './acts.ts';
import { type HoldScope, scopeText } from './effects.ts';
import { ArchiveError } from './errors.ts';
import { bytesOf, numberOf, optional, type Row, type Sql, textOf } from './sql.ts';

export interface Hold {
  readonly id: string;
  readonly placed: number;
  readonly actor: string;
  readonly rule: string;
  readonly scope: HoldScope;
  readonly lifted: number | undefined;
}

const RECEIPT = /^[0-9a-f]{32}$/;

/**
 * True for what a hold that is not lifted keeps, of a row with these columns. A row whose tenant is not known may be of
 * any tenant: every hold on a tenant keeps it.
 */
export function heldCondition(receipt: string, tenant: string, time: string): string {
  return `EXISTS (SELECT 1 FROM archive_holds h WHERE h.lifted IS NULL
    AND (h.receipt IS NULL OR h.receipt = ${receipt})
    AND (h.tenant IS NULL OR ${tenant} IS NULL OR h.tenant = ${tenant})
    AND (h.time_from IS NULL OR ${time} >= h.time_from)
    AND (h.time_to IS NULL OR ${time} < h.time_to))`;
}

/** Places a legal hold; resolves with its id once it is logged and in force. */
export async function placeHold(
  sql: Sql,
  acts: Acts,
  request: { readonly actor: string; readonly rule: string; readonly scope: HoldScope },
): Promise<string> {
  const { actor, rule, scope } = request;
  requireScope(scope);
  const hold = toHex(randomBytes(16));
  const ids = [fromHex(hold), idBytes(scope.receipt ?? scopeText(scope))];
  await sql.exclusive(() => acts.perform({ actor, rule, ids, detail: { act: 'hold-placed', hold, scope } }));
  return hold;
}

export async function liftHold(
  sql: Sql,
  acts: Acts,
  request: { readonly actor: string; readonly rule: string; readonly hold: string },
): Promise<void> {
  const { actor, rule, hold } = request;
  await sql.exclusive(async () => {
    const [row] = await sql.query({
      text: 'SELECT id FROM archive_holds WHERE id = ? AND lifted IS NULL',
      values: [hold],
    });
    if (!row) throw new ArchiveError('NOT_FOUND', 'no hold with this id is in force');
    await acts.perform({ actor, rule, ids: [fromHex(hold)], detail: { act: 'hold-lifted', hold } });
  });
}

/** The newest holds, lifted ones among them. */
export async function listHolds(sql: Sql, limit: number): Promise<readonly Hold[]> {
  const rows = await sql.query({
    text: 'SELECT * FROM archive_holds ORDER BY placed DESC, id LIMIT ?',
    values: [limit],
  });
  return rows.map(toHold);
}

function toHold(row: Row): Hold {
  const receipt = optional(row, 'receipt', bytesOf);
  return {
    id: textOf(row, 'id'),
    placed: numberOf(row, 'placed'),
    actor: textOf(row, 'actor'),
    rule: textOf(row, 'rule'),
    scope: {
      receipt: receipt && toHex(receipt),
      tenant: optional(row, 'tenant', textOf),
      from: optional(row, 'time_from', numberOf),
      to: optional(row, 'time_to', numberOf),
    },
    lifted: optional(row, 'lifted', numberOf),
  };
}

function requireScope({ receipt, tenant, from, to }: HoldScope): void {
  const isNamed = [receipt, tenant, from, to].some((member) => member !== undefined);
  if (!isNamed) throw new ArchiveError('HOLD_INVALID', 'the hold names nothing');
  if (receipt !== undefined && !RECEIPT.test(receipt)) {
    throw new ArchiveError('HOLD_INVALID', 'a receipt id is 32 lower-case hex digits');
  }
  if (from !== undefined && to !== undefined && from >= to) {
    throw new ArchiveError('HOLD_INVALID', 'the range of time is empty');
  }
}
