import { fromBase64Url, fromHex, toHex } from '../../attestation/bytes/bytes.ts';
import type { SealedHead } from '../../attestation/channel/sealed.ts';
import { Refusal } from '../../attestation/errors.ts';
import { AnswerStream } from './answer.ts';
import { freshNonce } from './attestation.ts';
import { ClientError } from './errors.ts';
import { bodyChunks, send, type Incoming, type Service } from './http.ts';
import type { ObliviousWay } from './obliviousWay.ts';
import type { Plaintext } from './sealedExchange.ts';
import type { SealedResponse } from './sealedResponse.ts';
import type { Trust } from './trust.ts';

const ANSWER_TIMEOUT_MS = 10 * 60_000;
const ID_BYTES = 16;
const KEY_BYTES = 32;
/** Length of the JSON where raw tensors follow; sealed answers have it as a parameter of their type. */
const JSON_LENGTH_HEADER = 'inference-header-content-length';

/**
 * Sends one POST request through a relay, sealed to accepted evidence: method, path, headers, API key and body. The
 * answer is read as any sealed one.
 */
export async function exchangeOblivious(
  service: Service,
  way: ObliviousWay,
  { document }: Pick<Trust, 'document'>,
  { path, body, contentType, authorization, fresh = false, signal }: Plaintext,
): Promise<AnswerStream> {
  const nonce = freshNonce();
  const headers = {
    'content-type': contentType,
    'vouchsafe-nonce': toHex(nonce),
    ...(fresh && { 'vouchsafe-fresh': '?1' }),
  };
  const exchange = { method: 'POST', path, headers, body, authorization, signal } as const;
  const sealed = { ...service, fetch: way.to(document.keyset) };
  const response = await send(sealed, { ...exchange, timeoutMs: ANSWER_TIMEOUT_MS });
  return new AnswerStream(sealedResponseOf(response, signal), { nonce, request: body, evidence: document });
}

/** A response from under the seal in the form that our own profile has it. */
function sealedResponseOf(response: Incoming, signal: AbortSignal | undefined): SealedResponse {
  const { status, headers } = response;
  const type = headers.get('content-type') ?? '';
  const length = headers.get(JSON_LENGTH_HEADER);
  return {
    head: {
      status,
      contentType: length === null ? type : `${type}; ${JSON_LENGTH_HEADER}=${length}`,
      receipt: receiptOf(headers),
    },
    content: bodyChunks(response.body?.getReader(), signal),
  };
}

function receiptOf(headers: Incoming['headers']): SealedHead['receipt'] {
  const id = headers.get('vouchsafe-receipt-id');
  const k = headers.get('vouchsafe-commitment-key');
  if (id === null && k === null) return undefined;
  try {
    const receipt = { id: fromHex(id ?? ''), k: fromBase64Url(k ?? '') };
    if (receipt.id.length === ID_BYTES && receipt.k.length === KEY_BYTES) return receipt;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  throw new ClientError('BAD_ANSWER', 'the answer names its receipt in no form that is known');
}
