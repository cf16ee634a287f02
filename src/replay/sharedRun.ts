import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import type { Rerun } from './run.ts';

/** Parameter of a receipt: rows of the run that answered, where requests for tensors may share runs. */
export const SHARED_ROWS = 'batch_rows';

/** A run that answered other requests, too: the model may round otherwise than alone. */
export interface SharedRun {
  /** Rows that the run had. */
  readonly rows: number;
  /** Those of the request. */
  readonly own: number;
}

/** The run that the receipt says was shared with others; a replay runs the request by itself. */
export function sharedRunOf(
  parameters: ReceiptClaims['parameters'],
  run: Pick<Rerun, 'tensorRows'>,
): SharedRun | undefined {
  const [own] = run.tensorRows;
  const rows = countOf(parameters.get(SHARED_ROWS));
  return own !== undefined && rows !== undefined && rows > own ? { rows, own } : undefined;
}

/**
 * Whether this can be the rows of the run that answered: none are stated, or a number that the rows of the request fit
 * into. Whether and with whom a run is shared depends on the service at the time.
 */
export function isRowCount(
  stated: string | Uint8Array | undefined,
  { tensorRows: [own] }: Pick<Rerun, 'tensorRows'>,
): boolean {
  if (stated === undefined) return true;
  const rows = countOf(stated);
  return own !== undefined && rows !== undefined && rows >= own;
}

function countOf(stated: string | Uint8Array | undefined): number | undefined {
  return typeof stated === 'string' && /^[1-9]\d{0,9}$/.test(stated) ? Number(stated) : undefined;
}
