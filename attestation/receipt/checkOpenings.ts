import { equalBytes } from '../bytes/bytes.ts';
import { sha256With, type CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { leafHash } from '../log/merkle.ts';
import { verifyRange } from '../log/rangeProof.ts';
import type { ReceiptClaims } from './claims.ts';
import { commitWith } from './commitment.ts';
import { parameterOf, type OpenedChunks, type OpenedItem } from './disclosure.ts';

/** Refuses as `COMMITMENT_MISMATCH` unless the receipt commits to exactly this item, under this key. */
export function checkItem(claims: ReceiptClaims, opened: OpenedItem, crypto: CryptoProvider): void {
  const { field, item, key, bytes } = opened;
  const signed = commitmentTo(claims, opened);
  if (!signed) throw mismatch(`the receipt commits to no ${nameOf(opened)}`);
  if (!equalBytes(commitWith(key, claims.id, field, item, bytes, crypto), signed)) {
    throw mismatch(`the ${nameOf(opened)} is not what the receipt commits to, or its key is another`);
  }
}

function nameOf({ field, item }: OpenedItem): string {
  return field === 'parameter' ? `parameter ${parameterOf(item) ?? item}` : field;
}

function commitmentTo(claims: ReceiptClaims, { field, item }: OpenedItem): Uint8Array | undefined {
  switch (field) {
    case 'request':
      return claims.request;
    case 'response':
      return claims.response.kind === 'body' ? claims.response.commitment : undefined;
    case 'tenant':
      return claims.tenant;
    case 'parameter': {
      const applied = claims.parameters.get(parameterOf(item) ?? '');
      return applied instanceof Uint8Array ? applied : undefined;
    }
  }
}

/**
 * Refuses unless these chunks stand at these places of the stream that the receipt signs: `COMMITMENT_MISMATCH`
 * where the receipt is of no such stream, `INCLUSION_INVALID` where the path does not lead to its root.
 */
export function checkChunkRange(
  { id, response }: ReceiptClaims,
  { start, keys, chunks, path }: OpenedChunks,
  crypto: CryptoProvider,
): void {
  if (response.kind !== 'stream') throw mismatch('the receipt is of a body, chunks were opened');
  const bytes = chunks.reduce((total, chunk) => total + chunk.length, 0);
  const whole = chunks.length === response.count;
  if (whole ? bytes !== response.bytes : bytes > response.bytes) {
    throw mismatch(`${bytes} bytes are opened, the receipt signs ${response.bytes} for the whole stream`);
  }
  const sha256 = sha256With(crypto);
  const leaves = chunks.map((chunk, i) => {
    const key = keys[i];
    if (!key) throw mismatch(`chunk ${start + i} has no key`);
    return leafHash(sha256, commitWith(key, id, 'chunk', start + i, chunk, crypto));
  });
  verifyRange(sha256, { start, size: response.count, path }, leaves, response.root);
}

function mismatch(detail: string): Refusal {
  return new Refusal('COMMITMENT_MISMATCH', detail);
}
