import type { IncomingMessage } from 'node:http';
import { KEY_CONFIG_PROBLEM_TYPE, openEhbp, type OpenedEhbp } from '../../attestation/channel/ehbp.ts';
import type { EncryptedBody } from '../../attestation/channel/hpke.ts';
import { ENCAPSULATED_KEY_HEADER, openRequest, type OpenedRequest } from '../../attestation/channel/hpke.ts';
import { parseSealedRequest, type SealedRequest } from '../../attestation/channel/sealed.ts';
import type { HpkeRuntime } from '../../attestation/channel/runtime.ts';
import { ENC_BYTES } from '../../attestation/channel/suites.ts';
import { hybridNodeRuntime, nodeRuntime } from '../../attestation/crypto/nodeHpke.ts';
import { Refusal } from '../../attestation/errors.ts';
import { ServiceError } from './errors.ts';
import type { Outgoing } from './outgoing.ts';
import { drawRandom } from './randomPool.ts';
import type { ReplayGuard } from './replayGuard.ts';
import type { Reply } from './reply.ts';
import { EhbpReply, SealedReply } from './sealedReply.ts';

const HEX = /^[0-9a-f]+$/;
const NONCE_BYTES = 32;

/** RFC 9457 problem of EHBP: the client fetches the keys again. Before any receipt. */
export const KEY_CONFIG_PROBLEM = {
  status: 422,
  contentType: 'application/problem+json',
  body: Buffer.from(
    JSON.stringify({
      type: KEY_CONFIG_PROBLEM_TYPE,
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

/** What opens encrypted requests of one generation of keys. */
export interface Unsealer {
  /** Private key of the keyset's first HPKE entry. */
  readonly key: CryptoKey;
  /** That of its hybrid entry; undefined where it has none. */
  readonly hybrid: CryptoKey | undefined;
  readonly guard: ReplayGuard;
}

type Outer = IncomingMessage & { readonly originalUrl: string };

export interface Unsealed {
  readonly request: SealedRequest;
  readonly reply: Reply;
}

/**
 * Opens one request of our profile: under the keys in use, else under those of the generation before, while they are
 * kept. Inner and outer path must agree, or a carrier could move the body to another route; each encapsulated key is
 * taken once, or it could ask again.
 */
export async function unseal(
  unsealers: readonly Unsealer[],
  outer: Outer,
  body: Uint8Array,
  outgoing: Outgoing,
): Promise<Unsealed> {
  const enc = encapsulatedKey(outer, [ENC_BYTES.x25519, ENC_BYTES.hybrid]);
  const opened = await openOnce<OpenedRequest>(unsealers, { enc, body }, (runtime, sealed) =>
    openRequest(sealed.privateKey, sealed.enc, sealed.body, runtime),
  );
  const request = parseInner(opened.plaintext);
  if (request.method !== outer.method || request.path !== outer.originalUrl) {
    throw new ServiceError(
      'SEALED_PATH_MISMATCH',
      'method or path inside the seal differ from those outside',
    );
  }
  const nonce = drawRandom(NONCE_BYTES);
  const withReceipt = outer.headers['vouchsafe-receipt'] === '?1';
  return { request, reply: new SealedReply(outgoing, nonce, await opened.sealer(nonce), withReceipt) };
}

export interface Decrypted {
  readonly body: Uint8Array;
  readonly reply: Reply;
}

/** Opens one request of plain EHBP, whose suite is X25519. Method, path and headers are whatever the carrier made of them. */
export async function decryptEhbp(
  unsealers: readonly Unsealer[],
  outer: Outer,
  body: Uint8Array,
  outgoing: Outgoing,
): Promise<Decrypted> {
  const enc = encapsulatedKey(outer, [ENC_BYTES.x25519]);
  const opened = await openOnce<OpenedEhbp>(unsealers, { enc, body }, openEhbp);
  const nonce = drawRandom(NONCE_BYTES);
  return { body: opened.plaintext, reply: new EhbpReply(outgoing, nonce, await opened.sealer(nonce)) };
}

function encapsulatedKey({ headers }: IncomingMessage, lengths: readonly number[]): Uint8Array {
  const text = headers[ENCAPSULATED_KEY_HEADER];
  if (typeof text !== 'string' || !HEX.test(text) || !lengths.includes(text.length / 2)) {
    const digits = lengths.map((length) => String(2 * length)).join(' or ');
    throw new ServiceError(
      'SEALED_MALFORMED',
      `Ehbp-Encapsulated-Key is not ${digits} lower-case hex digits`,
    );
  }
  return Buffer.from(text, 'hex');
}

type Open<Opened> = (runtime: HpkeRuntime, sealed: EncryptedBody) => Promise<Opened>;

/** What does not open is not remembered: a carrier that alters a request on its way cannot use its key up. */
async function openOnce<Opened>(
  unsealers: readonly Unsealer[],
  { enc, body }: Pick<EncryptedBody, 'enc' | 'body'>,
  open: Open<Opened>,
): Promise<Opened> {
  const isHybrid = enc.length === ENC_BYTES.hybrid;
  const runtime = isHybrid ? hybridNodeRuntime : nodeRuntime;
  for (const { key, hybrid, guard } of unsealers) {
    const privateKey = isHybrid ? hybrid : key;
    if (!privateKey) continue;
    guard.requireNew(enc);
    const opened = await orUndefined(open(runtime, { privateKey, enc, body }));
    if (!opened) continue;
    guard.take(enc);
    return opened;
  }
  throw new SealedUnopened();
}

/** Undefined where the body does not open under this key. */
async function orUndefined<Opened>(opening: Promise<Opened>): Promise<Opened | undefined> {
  try {
    return await opening;
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
