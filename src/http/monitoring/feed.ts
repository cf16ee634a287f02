import { setImmediate } from 'node:timers/promises';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { parseReceipt } from '../../../attestation/receipt/receipt.ts';
import { type LogRecord, parseRecord } from '../../../attestation/receipt/record.ts';
import type { ReceiptLog } from '../../receipts/log.ts';

/** Entries of one page. */
export const MOST_ENTRIES = 100;
/** Reading a receipt takes about 0.1 ms: requests are answered between. */
const ENTRIES_PER_TURN = 10;

/**
 * One entry of the log as the feed has it: counts and codes. No tenant, no parameter, no nonce and no commitment, and of
 * acts not who acted. Times are seconds since 1970.
 */
export type FeedEntry =
  | {
      readonly kind: 'receipt';
      readonly index: number;
      readonly id: string;
      readonly time: number;
      readonly model: string;
      readonly outcome: string;
      readonly reason: string | null;
      readonly channel: string;
      /** Chunks of a stream; null where the answer was one body. */
      readonly chunks: number | null;
      readonly usage: Readonly<Record<string, number>>;
    }
  | {
      readonly kind: 'open' | 'epoch' | 'act';
      readonly index: number;
      readonly time: number;
      /** Of an epoch the document that ended it, of an act what it is. */
      readonly detail: string;
    }
  /** A statement of somebody else, which the log holds for them. */
  | { readonly kind: 'statement'; readonly index: number };

export interface FeedPage {
  /** Durable entries of the log. */
  readonly size: number;
  /** Entries between the asked place and the first one here that this page has no room for. */
  readonly skipped: number;
  /** By rising index. */
  readonly entries: readonly FeedEntry[];
}

/** Which entries: those after an index, or those before one; the newest ones where neither is given. */
export interface FeedPlace {
  readonly after?: number | undefined;
  readonly before?: number | undefined;
  readonly limit: number;
}

/** The newest entries of the asked part. The log is read, so that nothing is kept for it. */
export async function readFeed(
  log: Pick<ReceiptLog, 'durableSize' | 'entry'>,
  { after = -1, before = Infinity, limit }: FeedPlace,
): Promise<FeedPage> {
  const size = log.durableSize;
  const end = Math.min(before, size);
  const begin = Math.min(after + 1, end);
  const first = Math.max(begin, end - limit);
  const entries: FeedEntry[] = [];
  for (let index = first; index < end; index++) {
    entries.push(describe(index, await log.entry(index)));
    if (entries.length % ENTRIES_PER_TURN === 0) await setImmediate();
  }
  return { size, skipped: first - begin, entries };
}

function describe(index: number, entry: Uint8Array): FeedEntry {
  return receiptOf(index, entry) ?? recordOf(index, entry) ?? { kind: 'statement', index };
}

function receiptOf(index: number, entry: Uint8Array): FeedEntry | undefined {
  const claims = readable(() => parseReceipt(entry).claims);
  if (!claims) return undefined;
  const { id, issuedAt, model, outcome, reason, channel, response, usage } = claims;
  return {
    kind: 'receipt',
    index,
    id: toHex(id),
    time: issuedAt,
    model,
    outcome,
    reason: reason ?? null,
    channel,
    chunks: response.kind === 'stream' ? response.count : null,
    usage: Object.fromEntries(usage),
  };
}

function recordOf(index: number, entry: Uint8Array): FeedEntry | undefined {
  const record = readable(() => parseRecord(entry).record);
  return record && { kind: record.kind, index, time: record.issuedAt, detail: detailOf(record) };
}

function detailOf(record: LogRecord): string {
  switch (record.kind) {
    case 'open':
      return record.predecessor ? 'follows a former instance' : 'follows nobody';
    case 'epoch':
      return `ended by document ${record.seq}`;
    case 'act':
      return `${record.act}, ${record.count}`;
  }
}

function readable<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
