import { Refusal } from '../../attestation/errors.ts';
import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { parseReceipt } from '../../attestation/receipt/receipt.ts';
import { parseRecord, type LogRecord } from '../../attestation/receipt/record.ts';

/** What a log entry says, for the index. Signatures are not checked: the index finds entries, it proves nothing. */
export type EntryFacts =
  | { readonly kind: 'receipt'; readonly claims: ReceiptClaims }
  | { readonly kind: 'record'; readonly record: LogRecord }
  /** Of a later version, or damaged: it is kept and named. */
  | { readonly kind: 'unknown' };

export function entryFacts(entry: Uint8Array): EntryFacts {
  const claims = readable(() => parseReceipt(entry).claims);
  if (claims) return { kind: 'receipt', claims };
  const record = readable(() => parseRecord(entry).record);
  return record ? { kind: 'record', record } : { kind: 'unknown' };
}

function readable<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
