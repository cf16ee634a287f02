import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { equalBytes } from '../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import { Refusal } from '../../attestation/errors.ts';
import { documentDigest, parseDocument } from '../../attestation/evidence/document.ts';
import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { checkRequest, checkResponse, type Opening } from '../../attestation/receipt/opening.ts';
import { type ParsedReceipt, parseReceipt, verifyEntry } from '../../attestation/receipt/receipt.ts';
import { ReplayError } from './errors.ts';

/** What was answered: a body, or the chunks of a stream with `[DONE]`. */
export type RecordedAnswer =
  | { readonly kind: 'body'; readonly bytes: Uint8Array }
  | { readonly kind: 'stream'; readonly chunks: readonly Uint8Array[] };

declare const opened: unique symbol;

/** An exchange whose receipt was signed by the key that its evidence names, and commits to exactly this content. */
export interface Recorded {
  readonly [opened]: true;
  readonly claims: ReceiptClaims;
  readonly k: Uint8Array;
  readonly request: Uint8Array;
  readonly answer: RecordedAnswer;
}

/**
 * Opens a bundle with the content that the client kept. Throws `Refusal` where the content is not that of the receipt,
 * `ReplayError` where it is not whole or cannot be repeated. Whether hardware vouches for the key is not asked here.
 */
export async function openRecorded(
  bundle: Uint8Array,
  opening: Opening | undefined,
  crypto: CryptoProvider,
): Promise<Recorded> {
  const { receipt: encoded, cited } = parseBundle(bundle);
  const receipt = parseReceipt(encoded);
  await verifySignature(receipt, cited, crypto);
  const { claims } = receipt;
  if (!opening?.request || !opening.response) {
    throw new ReplayError('CONTENT_MISSING', 'request, response and commitment key are not all there');
  }
  checkRequest(claims, opening, crypto);
  checkResponse(claims, opening, crypto);
  if (claims.outcome !== 'complete' && claims.outcome !== 'refused') {
    throw new ReplayError(
      'NOT_REPEATABLE',
      `the answer ended early: ${claims.outcome}, ${claims.reason ?? ''}`,
    );
  }
  const { k, request, response, chunks = [] } = opening;
  const answer =
    claims.response.kind === 'stream' ? { kind: 'stream', chunks } : { kind: 'body', bytes: response };
  return { claims, k, request, answer } as Recorded;
}

async function verifySignature(
  receipt: ParsedReceipt,
  cited: Uint8Array,
  crypto: CryptoProvider,
): Promise<void> {
  if (!equalBytes(receipt.claims.evidenceDigest, documentDigest(cited, crypto))) {
    throw new Refusal(
      'EVIDENCE_MISMATCH',
      'the receipt cites another evidence document than the bundle holds',
    );
  }
  const { keyset } = parseDocument(cited);
  await verifyEntry(receipt, keyset.receipt, keyset.instance, crypto);
}
