import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import {
  ENCAPSULATED_KEY_HEADER,
  type FrameSealer,
  type OpenedRequest,
  openRequest,
  RESPONSE_NONCE_HEADER,
  SEALED_CONTENT_TYPE,
} from '../../attestation/channel/hpke.ts';
import {
  encodeSealedHead,
  parseSealedRequest,
  type SealedRequest,
} from '../../attestation/channel/sealed.ts';
import { Refusal } from '../../attestation/errors.ts';
import { ServiceError } from './errors.ts';
import type { Outgoing } from './outgoing.ts';
import type { ReplayGuard } from './replayGuard.ts';
import type { AnswerHead, Reply } from './reply.ts';
import { framedType } from './tensorFraming.ts';

const ENC = /^[0-9a-f]{64}$/;
const EMPTY = new Uint8Array(0);

/** RFC 9457 problem of EHBP: the client fetches the keys again. Before any receipt. */
export const KEY_CONFIG_PROBLEM = {
  status: 422,
  contentType: 'application/problem+json',
  body: Buffer.from(
    JSON.stringify({
      type: 'urn:ietf:params:ehbp:error:key-config',
      title: 'The sealed request does not open under the current keys',
      status: 422,
    }),
  ),
} as const;

/** The body does not open: sealed to another keyset, or altered on its way. */
export class SealedUnopened extends Error {
  constructor() {
    super('the sealed request does not open under this keyset');
    this.name = 'SealedUnopened';
  }
}

export interface Unsealed {
  readonly request: SealedRequest;
  readonly reply: Reply;
}

/** What opens sealed requests: the private key of a keyset's first HPKE entry. */
export interface Unsealer {
  readonly key: CryptoKey;
  readonly guard: ReplayGuard;
}

/**
 * Opens one sealed request: under the keys in use, else under those of the generation before, while they are kept.
 * Inner and outer path must agree, or a carrier could move the body to another route; each encapsulated key is taken
 * once, or it could ask again.
 */
export async function unseal(
  unsealers: readonly Unsealer[],
  outer: IncomingMessage & { readonly originalUrl: string },
  body: Uint8Array,
  outgoing: Outgoing,
): Promise<Unsealed> {
  const enc = encapsulatedKey(outer);
  const opened = await openOnce(unsealers, enc, body);
  const request = parseInner(opened.plaintext);
  if (request.method !== outer.method || request.path !== outer.originalUrl) {
    throw new ServiceError(
      'SEALED_PATH_MISMATCH',
      'method or path inside the seal differ from those outside',
    );
  }
  const nonce = randomBytes(32);
  return { request, reply: new SealedReply(outgoing, nonce, await opened.sealer(nonce)) };
}

function encapsulatedKey({ headers }: IncomingMessage): Uint8Array {
  const text = headers[ENCAPSULATED_KEY_HEADER];
  if (typeof text !== 'string' || !ENC.test(text)) {
    throw new ServiceError('SEALED_MALFORMED', 'Ehbp-Encapsulated-Key is not 64 lower-case hex digits');
  }
  return Buffer.from(text, 'hex');
}

async function openOnce(
  unsealers: readonly Unsealer[],
  enc: Uint8Array,
  body: Uint8Array,
): Promise<OpenedRequest> {
  for (const { key, guard } of unsealers) {
    guard.requireNew(enc);
    const opened = await open(key, enc, body);
    if (!opened) continue;
    guard.take(enc);
    return opened;
  }
  throw new SealedUnopened();
}

/** Undefined where the body does not open under this key. */
async function open(key: CryptoKey, enc: Uint8Array, body: Uint8Array): Promise<OpenedRequest | undefined> {
  try {
    return await openRequest(key, enc, body);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

function parseInner(plaintext: Uint8Array): SealedRequest {
  try {
    return parseSealedRequest(plaintext);
  } catch (error) {
    if (error instanceof Refusal)
      throw new ServiceError('SEALED_MALFORMED', 'the sealed content is not a request');
    throw error;
  }
}

/** Seals the answer frame by frame: status, type, receipt id and key travel inside. */
class SealedReply implements Reply {
  readonly #outgoing: Outgoing;
  readonly #sealer: FrameSealer;
  readonly #nonce: Uint8Array;
  #sent: Promise<void> = Promise.resolve();
  status: number | undefined;

  constructor(outgoing: Outgoing, nonce: Uint8Array, sealer: FrameSealer) {
    this.#outgoing = outgoing;
    this.#nonce = nonce;
    this.#sealer = sealer;
  }

  async send(head: AnswerHead, body: Uint8Array): Promise<void> {
    this.begin(head);
    this.#frame(body, true);
    await this.#finish();
  }

  begin({ status, contentType, jsonLength, receipt, retryAfter }: AnswerHead): void {
    this.status = status;
    this.#outgoing.response.writeHead(200, {
      'content-type': SEALED_CONTENT_TYPE,
      'cache-control': 'no-store',
      [RESPONSE_NONCE_HEADER]: Buffer.from(this.#nonce).toString('hex'),
      ...(receipt && {
        'vouchsafe-receipt-id': Buffer.from(receipt.id).toString('hex'),
        'vouchsafe-evidence': Buffer.from(receipt.evidence).toString('hex'),
      }),
      ...(receipt?.covered !== undefined && { 'vouchsafe-fresh': receipt.covered ? '?1' : '?0' }),
      ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
    });
    const inside = receipt && { id: receipt.id, k: receipt.k };
    const type = framedType(contentType, jsonLength);
    this.#frame(encodeSealedHead({ status, contentType: type, receipt: inside }), false);
  }

  write(event: Uint8Array): void {
    this.#frame(event, false);
  }

  async end(): Promise<void> {
    this.#frame(EMPTY, true);
    await this.#finish();
  }

  /** Frames are sealed and sent in order. */
  #frame(content: Uint8Array, final: boolean): void {
    const sealed = this.#sealer.seal(content, final);
    this.#sent = this.#sent.then(async () => {
      this.#outgoing.write(await sealed);
    });
  }

  async #finish(): Promise<void> {
    await this.#sent;
    await this.#outgoing.end();
  }
}
