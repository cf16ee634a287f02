import { fromBase64Url, fromUtf8, toHex } from '../../attestation/bytes/bytes.ts';
import type { EvidenceDocument } from '../../attestation/evidence/document.ts';
import { isEventStream, type Answer } from './answer.ts';
import { freshNonce } from './attestation.ts';
import { ClientError } from './errors.ts';
import { streamChunks } from './events.ts';
import { isLoopback, readBody, send, type Exchange, type Service } from './http.ts';
import { MAX_RESPONSE_BYTES } from './sealedResponse.ts';

const KEY_COMMENT = /^: vouchsafe-commitment-key ([A-Za-z0-9_-]{43})\r?\n/;

/** One exchange over the plain channel, with this machine only: the evidence does not speak for who reads it. */
export async function sendPlain(
  service: Service,
  exchange: Exchange & { readonly body: Uint8Array },
  evidence: EvidenceDocument,
): Promise<Answer> {
  if (!isLoopback(service.base)) {
    throw new ClientError('UNBOUND_REFUSED', `${service.base} is not this machine`);
  }
  const nonce = freshNonce();
  const headers = { ...exchange.headers, 'vouchsafe-nonce': toHex(nonce) };
  const response = await send(service, { ...exchange, headers });
  const body = await readBody(response, MAX_RESPONSE_BYTES);
  const contentType = response.headers.get('content-type') ?? '';
  const streamed = isEventStream(contentType);
  return {
    status: response.status,
    contentType,
    body,
    chunks: streamed ? streamChunks(body) : undefined,
    receiptId: response.headers.get('vouchsafe-receipt-id') ?? undefined,
    k: commitmentKey(response.headers.get('vouchsafe-commitment-key'), streamed ? body : undefined),
    nonce,
    request: exchange.body,
    receipt: undefined,
    evidence,
  };
}

/** From the header, or from the first line of a stream. */
function commitmentKey(header: string | null, stream: Uint8Array | undefined): Uint8Array | undefined {
  const comment = stream && KEY_COMMENT.exec(fromUtf8(stream.subarray(0, 100)))?.[1];
  const text = header ?? comment;
  return text === undefined ? undefined : fromBase64Url(text);
}
