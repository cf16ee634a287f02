import { encodeDc } from '../cbor/deterministic.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';

/** What a commitment hides (DESIGN section 5). `request` and `response` have item 0 only. */
export type CommitmentField = 'request' | 'response' | 'chunk' | 'parameter' | 'tenant';

/**
 * Parameters that a receipt commits to instead of stating them, with their item numbers; the bytes are the JSON text
 * (UTF-8, without spaces) of the value as applied. A new one takes the next number.
 */
export const PARAMETER_ITEMS = { stop: 0, tools: 1, response_format: 2 } as const;
export type CommittedParameter = keyof typeof PARAMETER_ITEMS;

const KEY_LABEL = 'vouchsafe/commit-key/1';
const COMMIT_LABEL = 'vouchsafe/commit/1';
/** A longer `k` would hash to the same HMAC key as another: exactly this length. */
export const COMMITMENT_KEY_BYTES = 32;

/** `k_i`: opens one item and tells nothing of the others. */
export function itemKey(
  k: Uint8Array,
  receiptId: Uint8Array,
  field: CommitmentField,
  item: number,
  crypto: CryptoProvider,
): Uint8Array {
  if (k.length !== COMMITMENT_KEY_BYTES) {
    throw new Refusal(
      'COMMITMENT_MISMATCH',
      `a commitment key is ${COMMITMENT_KEY_BYTES} bytes, not ${k.length}`,
    );
  }
  return crypto.hmacSha256(k, encodeDc([KEY_LABEL, receiptId, field, item]));
}

/** `c_i` of bytes under their item key. */
export function commitWith(
  key: Uint8Array,
  receiptId: Uint8Array,
  field: CommitmentField,
  item: number,
  bytes: Uint8Array,
  crypto: CryptoProvider,
): Uint8Array {
  const digest = crypto.hash('sha256', bytes);
  return crypto.hmacSha256(key, encodeDc([COMMIT_LABEL, receiptId, field, item, bytes.length, digest]));
}

/** `c_i` of bytes under the receipt's key `k`. */
export function commit(
  k: Uint8Array,
  receiptId: Uint8Array,
  field: CommitmentField,
  item: number,
  bytes: Uint8Array,
  crypto: CryptoProvider,
): Uint8Array {
  return commitWith(itemKey(k, receiptId, field, item, crypto), receiptId, field, item, bytes, crypto);
}
