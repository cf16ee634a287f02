import { decodeDc, encodeDc } from '../cbor/deterministic.ts';
import { asArray, asBytes, asCount, asFixedBytes, asLabel, asText, asTuple } from '../cbor/shape.ts';
import { Refusal } from '../errors.ts';

/**
 * What travels inside the HPKE seal. EHBP leaves method, path and headers open to whoever carries the request, so
 * the seal repeats what decides its meaning (DESIGN section 4).
 */
const REQUEST_LABEL = 'vouchsafe/sealed-request/1';
const RESPONSE_LABEL = 'vouchsafe/sealed-response/1';
const NONE = new Uint8Array(0);

export interface SealedRequest {
  /** Client nonce, 32 bytes: the receipt repeats it. */
  readonly nonce: Uint8Array;
  readonly method: string;
  /** Path with query, as on the outside. */
  readonly path: string;
  readonly contentType: string;
  readonly body: Uint8Array;
}

export function encodeSealedRequest(request: SealedRequest): Uint8Array {
  const { nonce, method, path, contentType, body } = request;
  return encodeDc([REQUEST_LABEL, nonce, method, path, contentType, body]);
}

export function parseSealedRequest(encoded: Uint8Array): SealedRequest {
  const [label, nonce, method, path, contentType, body] = asTuple(decodeDc(encoded), 'sealed request', 6);
  asLabel(label, 'sealed request label', REQUEST_LABEL);
  return {
    nonce: asFixedBytes(nonce, 'sealed nonce', 32),
    method: asText(method, 'sealed method'),
    path: asText(path, 'sealed path'),
    contentType: asText(contentType, 'sealed content type'),
    body: asBytes(body, 'sealed body'),
  };
}

/** First frame of a sealed response: what else would travel in open headers. */
export interface SealedHead {
  readonly status: number;
  readonly contentType: string;
  /** Undefined where no receipt was issued. */
  readonly receipt: SealedReceipt | undefined;
}

export interface SealedReceipt {
  readonly id: Uint8Array;
  readonly k: Uint8Array;
  /** The receipt itself, where the client asked for it with the answer: one request less. */
  readonly encoded?: Uint8Array | undefined;
}

/** A sixth member is the receipt itself; there is none where nobody asked for it. */
export function encodeSealedHead({ status, contentType, receipt }: SealedHead): Uint8Array {
  const rider = receipt?.encoded === undefined ? [] : [receipt.encoded];
  return encodeDc([RESPONSE_LABEL, status, contentType, receipt?.id ?? NONE, receipt?.k ?? NONE, ...rider]);
}

export function parseSealedHead(encoded: Uint8Array): SealedHead {
  const members = asArray(decodeDc(encoded), 'sealed response');
  const rider = members.length > 5 ? asBytes(members[5], 'sealed receipt') : undefined;
  const length = rider === undefined ? 5 : 6;
  const [label, status, contentType, id, k] = asTuple(members, 'sealed response', length);
  asLabel(label, 'sealed response label', RESPONSE_LABEL);
  const hasReceipt = asBytes(id, 'sealed receipt id').length > 0 || asBytes(k, 'sealed key').length > 0;
  if (rider && !hasReceipt) throw new Refusal('MALFORMED', 'a sealed receipt has neither id nor key');
  return {
    status: asCount(status, 'sealed status'),
    contentType: asText(contentType, 'sealed content type'),
    receipt: hasReceipt
      ? {
          id: asFixedBytes(id, 'sealed receipt id', 16),
          k: asFixedBytes(k, 'sealed key', 32),
          ...(rider && { encoded: rider }),
        }
      : undefined,
  };
}
