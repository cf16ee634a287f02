import { toHex } from '../../attestation/bytes/bytes.ts';
import { ENCAPSULATED_KEY_HEADER, SEALED_CONTENT_TYPE } from '../../attestation/channel/hpke.ts';
import { encodeSealedRequest } from '../../attestation/channel/sealed.ts';
import { AnswerStream } from './answer.ts';
import { freshNonce } from './attestation.ts';
import { ClientError } from './errors.ts';
import { send, type Service } from './http.ts';
import { exchangeOblivious } from './oblivious.ts';
import { sameKeys, type Renewal } from './renewal.ts';
import { openResponse } from './sealedResponse.ts';
import type { Sealer } from './sealer.ts';
import type { Trust } from './trust.ts';

const ANSWER_TIMEOUT_MS = 10 * 60_000;

/** One POST request before it is sealed. */
export interface Plaintext {
  /** With query, from `/`, as it goes over the wire. */
  readonly path: string;
  readonly body: Uint8Array;
  readonly contentType: string;
  /** Outside the seal, where the service has no key of the session. */
  readonly authorization?: string | undefined;
  /** Outside the seal: the answer waits until hardware covers its receipt. */
  readonly fresh?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Where sealed requests go, and how. */
export interface SealedWay {
  readonly service: Service;
  readonly renewal: Renewal;
  readonly sealer: Sealer;
}

/**
 * Seals one request to accepted evidence and opens the answer. Where the service says that it has other keys, the
 * evidence is renewed and the request sealed anew, once, and only if the keys did change: otherwise the service could
 * open it, and may have answered it.
 */
export async function exchangeSealed(way: SealedWay, request: Plaintext): Promise<AnswerStream> {
  const { renewal } = way;
  request.signal?.throwIfAborted();
  const trust = await renewal.current();
  try {
    return await attempt(way, trust, request);
  } catch (error) {
    if (!(error instanceof ClientError) || error.code !== 'KEYSET_CHANGED') throw error;
    const renewed = await renewal.renew(trust);
    if (sameKeys(trust, renewed)) throw error;
    request.signal?.throwIfAborted();
    return attempt(way, renewed, request);
  }
}

function attempt(way: SealedWay, trust: Trust, request: Plaintext): Promise<AnswerStream> {
  const { service } = way;
  const { oblivious } = service;
  return oblivious
    ? exchangeOblivious(service, oblivious, trust, request)
    : exchangeEncrypted(way, trust, request);
}

async function exchangeEncrypted(
  { service, sealer }: SealedWay,
  { document }: Trust,
  { path, body, contentType, authorization, fresh = false, signal }: Plaintext,
): Promise<AnswerStream> {
  const nonce = freshNonce();
  const inner = encodeSealedRequest({ nonce, method: 'POST', path, contentType, body });
  const sealed = await sealer.seal(document, inner);
  const headers = {
    'content-type': SEALED_CONTENT_TYPE,
    [ENCAPSULATED_KEY_HEADER]: toHex(sealed.enc),
    // With the answer: one request less. Whoever takes this away has it fetched.
    'vouchsafe-receipt': '?1',
    ...(fresh && { 'vouchsafe-fresh': '?1' }),
  };
  const outer = { method: 'POST', path, headers, body: sealed.body, authorization, signal } as const;
  const sent = send(service, { ...outer, timeoutMs: ANSWER_TIMEOUT_MS });
  sealer.prepare(document);
  const response = await sent;
  const asked = { nonce, request: body, evidence: document };
  return new AnswerStream(await openResponse(sealed, response, signal), asked);
}
