import type { CipherSuite } from '@hpke/core';
import { concat } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { beginRequest, type Recipient, receiveRequest, type RequestHeader, type Sender } from './exchange.ts';
import type { GatewayKey } from './keyConfig.ts';
import { TAG_BYTES } from './suite.ts';

/** Oblivious HTTP (RFC 9458): the request is one piece, and so is the response. */
export const REQUEST_TYPE = 'message/ohttp-req';
export const RESPONSE_TYPE = 'message/ohttp-res';

export interface SealedWhole {
  readonly body: Uint8Array;
  readonly sender: Sender;
}

/** Encapsulates one binary HTTP request. */
export async function sealWhole(
  key: GatewayKey,
  request: Uint8Array,
  ephemeral?: CryptoKeyPair,
): Promise<SealedWhole> {
  const sender = await beginRequest('whole', key, ephemeral);
  return { body: concat(sender.head, await sender.seal(request, true)), sender };
}

/** Opens the response to one request. */
export async function openWholeResponse(sender: Sender, body: Uint8Array): Promise<Uint8Array> {
  const { nonceBytes } = sender;
  if (body.length < nonceBytes + TAG_BYTES) {
    throw new Refusal('MALFORMED', 'the encapsulated response is too short');
  }
  const chunks = await sender.response(body.subarray(0, nonceBytes));
  return chunks.open(body.subarray(nonceBytes), true);
}

export interface OpenedRequest {
  /** The binary HTTP request, whole. */
  readonly request: Uint8Array;
  readonly recipient: Recipient;
}

/** Opens a request with the private half of the key that its header names; `suite` as for `receiveRequest`. */
export async function openWhole(
  privateKey: CryptoKey,
  header: RequestHeader,
  suite?: CipherSuite,
): Promise<OpenedRequest> {
  const recipient = await receiveRequest('whole', privateKey, header, suite);
  return { request: await recipient.open(header.sealed, true), recipient };
}

/** Encapsulates the response under a fresh nonce of `recipient.nonceBytes`. */
export async function sealWholeResponse(
  recipient: Recipient,
  nonce: Uint8Array,
  response: Uint8Array,
): Promise<Uint8Array> {
  const chunks = await recipient.response(nonce);
  return concat(nonce, await chunks.seal(response, true));
}
