import type { Request } from 'express';
import { toBase64 } from '../../../attestation/bytes/bytes.ts';
import { LOG_RECEIPT_MEDIA_TYPE } from '../../../attestation/log/transparentStatement.ts';
import { CACHE, cacheable } from '../caching.ts';
import { type Action, type Answer, type Context, json } from '../endpoint.ts';
import { ServiceError } from '../errors.ts';
import type { FoundLog, ServedLog } from '../servedLog.ts';
import type { Service } from '../service.ts';

const NUMBER = /^(?:0|[1-9][0-9]{0,15})$/;

/** `.../proof/inclusion?index=&size=`, hashes in base64 as in checkpoints. */
export async function inclusionProof({ log }: FoundLog, { request }: Context): Promise<Answer> {
  const { index, size } = entryPlace(log, request);
  const path = await log.inclusionProof(index, size);
  const value = { origin: log.origin, index, size, path: path.map(toBase64) };
  return cacheable(request, json(value), CACHE.privately);
}

/** `.../proof/consistency?from=&to=`. Whoever has the tiles can make it, so it is public. */
export async function consistencyProof({ log }: FoundLog, { request }: Context): Promise<Answer> {
  const { from, to } = treeSizes(log, request);
  const path = await log.consistencyProof(from, to);
  const value = { origin: log.origin, from, to, path: path.map(toBase64) };
  return cacheable(request, json(value), CACHE.immutable);
}

/** `/log/receipt/inclusion?index=&size=`: a COSE Receipt. For auditors: each costs a signature. */
export function inclusionReceipt({ gate, logs, vouching }: Service): Action {
  return async ({ request }) => {
    gate.requireAuditor(request);
    const { index, size } = entryPlace(logs.own, request);
    return coseReceipt(await vouching.inclusion.inclusion(index, size));
  };
}

/** `/log/receipt/consistency?from=&to=`: a COSE Receipt. */
export function consistencyReceipt({ gate, logs, vouching }: Service): Action {
  return async ({ request }) => {
    gate.requireAuditor(request);
    const { from, to } = treeSizes(logs.own, request);
    return coseReceipt(await vouching.inclusion.consistency(from, to));
  };
}

function coseReceipt(body: Uint8Array): Answer {
  return { status: 200, contentType: LOG_RECEIPT_MEDIA_TYPE, body };
}

function entryPlace(log: ServedLog, request: Request): { readonly index: number; readonly size: number } {
  const [index, size] = [numberOf(request, 'index'), publishedSize(log, request, 'size')];
  if (index >= size) throw new ServiceError('LOG_RANGE', 'the tree of this size has no such index', 'index');
  return { index, size };
}

function treeSizes(log: ServedLog, request: Request): { readonly from: number; readonly to: number } {
  const [from, to] = [numberOf(request, 'from'), publishedSize(log, request, 'to')];
  // Every tree extends the empty one: nothing is proved.
  if (from < 1 || from > to) throw new ServiceError('LOG_RANGE', 'from is not between 1 and to', 'from');
  return { from, to };
}

function publishedSize(log: ServedLog, request: Request, name: string): number {
  const size = numberOf(request, name);
  if (size > log.publishedSize) {
    throw new ServiceError('LOG_RANGE', 'the published log does not reach that far', name);
  }
  return size;
}

function numberOf({ query }: Request, name: string): number {
  const text = query[name];
  const value = Number(text);
  if (typeof text === 'string' && NUMBER.test(text) && Number.isSafeInteger(value)) return value;
  throw new ServiceError('INVALID_INPUT', `${name} is no decimal number without leading zeros`, name);
}
