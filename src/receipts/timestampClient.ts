import { randomBytes } from 'node:crypto';
import { equalBytes, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { MAX_TOKEN_BYTES } from '../../attestation/log/anchor.ts';
import { parseTimestamp } from '../../attestation/time/timestamp.ts';
import {
  encodeTimestampRequest,
  parseTimestampResponse,
  TIMESTAMP_QUERY,
  TIMESTAMP_REPLY,
} from '../../attestation/time/timestampExchange.ts';
import { askOutsider, type Confirmation, type Outsider, OutsiderError, type SignedHead } from './outsider.ts';

const NONCE_BYTES = 16;
/** Status and text around the token take little. */
const MAX_REPLY_BYTES = MAX_TOKEN_BYTES + 4096;
const TIMEOUT_MS = 10_000;

/**
 * Asks an RFC 3161 authority over HTTP (section 3.4). A token is kept where it is over the head and answers this very
 * request. Whether the authority is to be trusted is the relying party's to say: its signature is not looked at here.
 */
export class TimestampClient implements Outsider {
  readonly kind = 'authority';
  readonly name: string;
  readonly #url: string;
  readonly #timeoutMs: number;

  constructor(url: string, timeoutMs = TIMEOUT_MS) {
    this.name = url;
    this.#url = url;
    this.#timeoutMs = timeoutMs;
  }

  async confirm({ text }: SignedHead, signal: AbortSignal): Promise<Confirmation> {
    const digest = nodeCrypto.hash('sha256', utf8(text));
    const nonce = makeNonce();
    const answer = await askOutsider({
      url: this.#url,
      type: TIMESTAMP_QUERY,
      body: encodeTimestampRequest({ digest, nonce, certReq: true }),
      maxBytes: MAX_REPLY_BYTES,
      signal,
      timeoutMs: this.#timeoutMs,
    });
    if (answer.status !== 200) throw new OutsiderError('STATUS', `${this.name} answers ${answer.status}`);
    if (answer.type !== TIMESTAMP_REPLY) throw this.#invalid(`its type is not ${TIMESTAMP_REPLY}`);
    return { kind: 'token', token: this.#readToken(answer.body, digest, nonce) };
  }

  #readToken(body: Uint8Array, digest: Uint8Array, nonce: Uint8Array): Uint8Array {
    try {
      const token = parseTimestampResponse(body);
      if (token.length > MAX_TOKEN_BYTES) throw this.#invalid(`a token of ${token.length} bytes`);
      const { imprint, nonce: answered } = parseTimestamp(token).info;
      if (imprint.hash !== 'sha256' || !equalBytes(imprint.digest, digest)) {
        throw this.#invalid(`the token is over ${toHex(imprint.digest)}`);
      }
      if (!answered || !equalBytes(answered, nonce)) throw this.#invalid('the token has another nonce');
      return token;
    } catch (error) {
      if (error instanceof Refusal) throw this.#invalid(error.message, error);
      throw error;
    }
  }

  #invalid(detail: string, cause?: unknown): OutsiderError {
    return new OutsiderError('ANSWER_INVALID', `${this.name}: ${detail}`, { cause });
  }
}

/** Positive and of full length, so that its INTEGER has these very bytes. */
function makeNonce(): Uint8Array {
  const nonce = new Uint8Array(randomBytes(NONCE_BYTES));
  nonce[0] = ((nonce[0] ?? 0) & 0x3f) | 0x40;
  return nonce;
}
