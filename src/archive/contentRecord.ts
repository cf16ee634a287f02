import { decodeDc, encodeDc, type Dc } from '../../attestation/cbor/deterministic.ts';
import { asArray, asBytes, asFixedBytes, asLabel, asText, asTuple } from '../../attestation/cbor/shape.ts';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { COMMITMENT_KEY_BYTES } from '../../attestation/receipt/commitment.ts';
import { checkRequest, checkResponse, checkTenant } from '../../attestation/receipt/opening.ts';
import { ArchiveError } from './errors.ts';

const LABEL = 'vouchsafe/archived-content/1';
const MAX_DEPTH = 4;

/** What was asked and answered, and the key that opens the receipt's commitments to it. */
export interface ArchivedContent {
  /** Id of the receipt, 16 bytes. */
  readonly receipt: Uint8Array;
  readonly k: Uint8Array;
  readonly request: Uint8Array;
  readonly response: ArchivedResponse;
}

/** A body, or the chunks of a stream as they were committed to. */
export type ArchivedResponse =
  | { readonly kind: 'body'; readonly body: Uint8Array }
  | { readonly kind: 'stream'; readonly chunks: readonly Uint8Array[] };

export function encodeContent({ receipt, k, request, response }: ArchivedContent): Uint8Array {
  const answer: Dc = response.kind === 'body' ? [response.body] : response.chunks;
  return encodeDc([LABEL, receipt, k, request, response.kind, answer]);
}

/** Parses what `encodeContent` wrote; whoever holds the archive key could have written it otherwise. */
export function parseContent(encoded: Uint8Array): ArchivedContent {
  const decoded = decodeDc(encoded, { maxDepth: MAX_DEPTH, maxBytes: encoded.length });
  const [label, receipt, k, request, kind, answer] = asTuple(decoded, 'archived content', 6);
  asLabel(label, 'archived content', LABEL);
  const parts = asArray(answer, 'archived answer').map((part) => asBytes(part, 'archived answer'));
  return {
    receipt: asFixedBytes(receipt, 'receipt id', 16),
    k: asFixedBytes(k, 'commitment key', COMMITMENT_KEY_BYTES),
    request: asBytes(request, 'archived request'),
    response: parseResponse(asText(kind, 'kind of answer'), parts),
  };
}

function parseResponse(kind: string, parts: readonly Uint8Array[]): ArchivedResponse {
  if (kind === 'stream') return { kind, chunks: parts };
  const [body] = parts;
  if (kind !== 'body' || !body || parts.length !== 1) {
    throw new Refusal('MALFORMED', 'archived answer is neither one body nor a stream');
  }
  return { kind, body };
}

/**
 * Throws `CONTENT_MISMATCH` unless the receipt commits to exactly this content, and to the tenant that is to have it:
 * the index, which names tenants, is not believed.
 */
export function checkContent(content: ArchivedContent, claims: ReceiptClaims, tenant?: string): void {
  const { k, request, response } = content;
  const answer = response.kind === 'body' ? { response: response.body } : { chunks: response.chunks };
  const opening = { k, request, ...answer };
  try {
    if (Buffer.compare(content.receipt, claims.id) !== 0) {
      throw new Refusal('COMMITMENT_MISMATCH', 'the content is of another receipt');
    }
    checkRequest(claims, opening, nodeCrypto);
    checkResponse(claims, opening, nodeCrypto);
    if (tenant !== undefined) checkTenant(claims, { k, tenant: utf8(tenant) }, nodeCrypto);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new ArchiveError('CONTENT_MISMATCH', error.message, error);
  }
}
