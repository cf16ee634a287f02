import { ServiceError } from '../errors.ts';
import type { ReadAction, ReadContext } from '../endpoint.ts';
import { untilAborted } from '../lifetime.ts';
import { wantsFresh } from '../request.ts';
import type { Service } from '../service.ts';

const ID = /^[0-9a-f]{32}$/;
export const RECEIPT_MEDIA_TYPE = 'application/cose; cose-type="cose-sign1"';
export const BUNDLE_MEDIA_TYPE = 'application/vouchsafe-bundle+cbor';

/** `GET /v1/receipts/{id}`, with the key that made the request. */
export function receipt(service: Service): ReadAction {
  return async (context) => {
    const { id, tenant } = await findReceipt(service, context);
    return { status: 200, contentType: RECEIPT_MEDIA_TYPE, body: await service.vouching.receipt(id, tenant) };
  };
}

/** `GET /v1/receipts/{id}/bundle`: one file with everything that a verifier needs, offline. */
export function bundle(service: Service): ReadAction {
  return async (context) => {
    const { id, tenant } = await findReceipt(service, context);
    return { status: 200, contentType: BUNDLE_MEDIA_TYPE, body: await service.vouching.bundle(id, tenant) };
  };
}

interface Found {
  readonly id: string;
  readonly tenant: string | undefined;
}

/** The receipt that the path names, for the tenant that made the request. */
export async function findReceipt(
  { gate, vouching }: Service,
  { request, lifetime }: ReadContext,
): Promise<Found> {
  const tenant = gate.tenantOf(request);
  const id = request.params['id'];
  if (typeof id !== 'string' || !ID.test(id)) {
    throw new ServiceError('RECEIPT_NOT_FOUND', 'a receipt id is 32 lower-case hex digits');
  }
  if (wantsFresh(request)) {
    const waited = vouching.receiptCovered(id, tenant);
    await untilAborted(waited, lifetime.signal);
    const { failure } = lifetime;
    if (failure) throw failure;
    await waited;
  }
  return { id, tenant };
}
