import { type BinaryRequest, parseBinaryRequest } from '../../attestation/channel/ohttp/bhttp.ts';
import { CHUNKED_REQUEST_TYPE, openChunked } from '../../attestation/channel/ohttp/chunked.ts';
import {
  parseRequestHeader,
  type Recipient,
  type RequestHeader,
} from '../../attestation/channel/ohttp/exchange.ts';
import { keyIdOf } from '../../attestation/channel/ohttp/keyConfig.ts';
import { suiteOf } from '../../attestation/channel/ohttp/suite.ts';
import { openWhole, type OpenedRequest, REQUEST_TYPE } from '../../attestation/channel/ohttp/whole.ts';
import { HPKE_SUITE } from '../../attestation/keyset.ts';
import { Refusal } from '../../attestation/errors.ts';
import { ServiceError } from './errors.ts';
import { nodeSuites } from './hpkeSuites.ts';
import { ChunkedObliviousReply, WholeObliviousReply } from './obliviousReply.ts';
import type { Outgoing } from './outgoing.ts';
import type { Reply } from './reply.ts';
import type { Unsealer } from './sealed.ts';

/** Media types that a gateway takes. */
export type ObliviousType = typeof REQUEST_TYPE | typeof CHUNKED_REQUEST_TYPE;

export function isObliviousType(type: string): type is ObliviousType {
  return type === REQUEST_TYPE || type === CHUNKED_REQUEST_TYPE;
}

/** Problem type of RFC 9458 section 5.3. */
export const KEY_PROBLEM = problem(
  'https://iana.org/assignments/http-problem-types#ohttp-key',
  'The encapsulated request does not open under the current keys',
);

/** Problem type of RFC 9458 section 6.5.2. */
export const DATE_PROBLEM = problem(
  'https://iana.org/assignments/http-problem-types#date',
  'The date of the request is outside of what is accepted',
);

function problem(type: string, title: string) {
  const body = Buffer.from(JSON.stringify({ type, title, status: 400 }));
  const headers = { 'cache-control': 'no-store' };
  return { status: 400, contentType: 'application/problem+json', headers, body } as const;
}

/** Keys of the generations that open requests: the one in use, then the former one during its overlap. */
export interface ObliviousKeys {
  readonly unsealers: readonly Unsealer[];
  /** Of the first of them. */
  readonly generation: number;
}

export interface Unwrapped {
  /** Binary HTTP, as it was sealed: not parsed yet. */
  readonly message: Uint8Array;
  /** Where the answer goes from now on, refusals included. */
  readonly reply: Reply;
}

/**
 * Opens an encapsulated request that has come whole. Undefined where its key is not known or it does not open: cut,
 * altered, reordered or sealed to another keyset. Throws `SEALED_REPLAY` where its encapsulated key was taken before;
 * one that did not open is not taken, so that nobody on the way can use it up.
 */
export async function unwrap(
  { unsealers, generation }: ObliviousKeys,
  type: ObliviousType,
  body: Uint8Array,
  outgoing: Outgoing,
): Promise<Unwrapped | undefined> {
  const header = refusedAsUndefined(() => parseRequestHeader(body));
  const unsealer = unsealers.find((_, i) => header && keyIdOf(generation - i) === header.keyId);
  if (!header || !unsealer) return undefined;
  const { key, guard } = unsealer;
  guard.requireNew(header.enc);
  const opened = await open(key, type, header);
  if (!opened) return undefined;
  guard.take(header.enc);
  return { message: opened.request, reply: await replyTo(type, opened.recipient, outgoing) };
}

async function open(
  key: CryptoKey,
  type: ObliviousType,
  header: RequestHeader,
): Promise<OpenedRequest | undefined> {
  const { symmetric } = header;
  const suite = symmetric.aead === HPKE_SUITE.aead ? nodeSuites.x25519() : suiteOf(symmetric);
  try {
    return await (type === REQUEST_TYPE ? openWhole(key, header, suite) : openChunked(key, header, suite));
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

function refusedAsUndefined<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

async function replyTo(type: ObliviousType, recipient: Recipient, outgoing: Outgoing): Promise<Reply> {
  return type === REQUEST_TYPE
    ? new WholeObliviousReply(outgoing, recipient)
    : ChunkedObliviousReply.to(outgoing, recipient);
}

/** What was sealed, as a request. Throws `SEALED_MALFORMED`. */
export function parseInner(message: Uint8Array): BinaryRequest {
  const request = refusedAsUndefined(() => parseBinaryRequest(message));
  if (!request) throw new ServiceError('SEALED_MALFORMED', 'the sealed content is no binary HTTP request');
  return request;
}
