import { equalBytes } from '../bytes/bytes.ts';
import { sha256With, type CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { MemoryTree } from '../log/memoryTree.ts';
import { leafHash } from '../log/merkle.ts';
import { rangeProof } from '../log/rangeProof.ts';
import type { LeafRange } from '../log/subtrees.ts';
import { checkChunkRange, checkItem } from './checkOpenings.ts';
import type { ReceiptClaims } from './claims.ts';
import { commitWith, itemKey, PARAMETER_ITEMS, type CommittedParameter } from './commitment.ts';
import {
  MAX_OPENED_CHUNKS,
  type DisclosedField,
  type OpenedChunks,
  type OpenedItem,
  type Openings,
} from './disclosure.ts';

/** What the holder of `k` kept of one exchange. */
export interface KeptContent {
  /** The receipt's commitment key: it opens everything and goes into no disclosure. */
  readonly k: Uint8Array;
  readonly request?: Uint8Array | undefined;
  readonly response?: Uint8Array | undefined;
  /** All chunks of a stream, in order. */
  readonly chunks?: readonly Uint8Array[] | undefined;
  /** JSON text of committed parameters as applied. */
  readonly parameters?: ReadonlyMap<CommittedParameter, Uint8Array> | undefined;
  readonly tenant?: Uint8Array | undefined;
}

/** What of it is to be opened. */
export interface Selection {
  readonly request?: boolean | undefined;
  readonly response?: boolean | undefined;
  readonly chunks?: LeafRange | undefined;
  readonly parameters?: readonly CommittedParameter[] | undefined;
  readonly tenant?: boolean | undefined;
}

/**
 * Opens the selected items and no others. Refuses as `COMMITMENT_MISMATCH` what was not kept or is not what the
 * receipt commits to: an opening that proves nothing would still reveal.
 */
export function openItems(
  claims: ReceiptClaims,
  kept: KeptContent,
  selection: Selection,
  crypto: CryptoProvider,
): Openings {
  const open = (field: DisclosedField, item: number, bytes: Uint8Array | undefined): OpenedItem => {
    if (!bytes) throw new Refusal('COMMITMENT_MISMATCH', `the ${field} is to be opened and was not kept`);
    const opened = { field, item, key: itemKey(kept.k, claims.id, field, item, crypto), bytes };
    checkItem(claims, opened, crypto);
    return opened;
  };
  const { request = false, response = false, chunks, parameters = [], tenant = false } = selection;
  return {
    items: [
      ...(request ? [open('request', 0, kept.request)] : []),
      ...(response ? [open('response', 0, kept.response)] : []),
      ...parameters.map((name) => open('parameter', PARAMETER_ITEMS[name], kept.parameters?.get(name))),
      ...(tenant ? [open('tenant', 0, kept.tenant)] : []),
    ],
    chunks: chunks && openChunks(claims, kept, chunks, crypto),
  };
}

function openChunks(
  claims: ReceiptClaims,
  { k, chunks: kept = [] }: KeptContent,
  range: LeafRange,
  crypto: CryptoProvider,
): OpenedChunks {
  const { start, end } = range;
  const fits = Number.isSafeInteger(start) && start >= 0 && start < end && end <= kept.length;
  if (!fits || end - start > MAX_OPENED_CHUNKS) {
    const reason = `chunks ${start} to ${end - 1} of ${kept.length}, at most ${MAX_OPENED_CHUNKS} at once`;
    throw new Refusal('COMMITMENT_MISMATCH', `this is no range to open: ${reason}`);
  }
  const sha256 = sha256With(crypto);
  const keys = kept.map((_, i) => itemKey(k, claims.id, 'chunk', i, crypto));
  const leaves = kept.map((chunk, i) => {
    const key = keys[i] ?? k;
    return leafHash(sha256, commitWith(key, claims.id, 'chunk', i, chunk, crypto));
  });
  const tree = new MemoryTree(sha256, leaves);
  if (claims.response.kind !== 'stream' || !equalBytes(tree.root, claims.response.root)) {
    throw new Refusal('COMMITMENT_MISMATCH', 'the chunks are not the stream that the receipt commits to');
  }
  const { path } = rangeProof(sha256, tree, range);
  const opened = { start, keys: keys.slice(start, end), chunks: kept.slice(start, end), path };
  checkChunkRange(claims, opened, crypto);
  return opened;
}
