import {
  LOG_RECEIPT_MEDIA_TYPE,
  STATEMENT_MEDIA_TYPE,
} from '../../../attestation/log/transparentStatement.ts';
import type { Action } from '../endpoint.ts';
import type { Service } from '../service.ts';
import { findReceipt } from './receipts.ts';

/** `GET /v1/receipts/{id}/statement`: the receipt as a transparent statement of RFC 9943, with its COSE Receipt. */
export function receiptStatement(service: Service): Action {
  return async (context) => {
    const { id, tenant } = await findReceipt(service, context);
    const { vouching } = service;
    const index = vouching.indexOf(id, tenant);
    const body = await vouching.inclusion.statement(index, sizeOver(service, index));
    return { status: 200, contentType: STATEMENT_MEDIA_TYPE, body };
  };
}

/** `GET /v1/receipts/{id}/inclusion`: the COSE Receipt (RFC 9942) alone. */
export function receiptInclusion(service: Service): Action {
  return async (context) => {
    const { id, tenant } = await findReceipt(service, context);
    const index = service.vouching.indexOf(id, tenant);
    return { status: 200, contentType: LOG_RECEIPT_MEDIA_TYPE, body: await logReceipt(service, index) };
  };
}

/** COSE Receipt of an entry. */
export function logReceipt(service: Service, index: number): Promise<Uint8Array> {
  return service.vouching.inclusion.inclusion(index, sizeOver(service, index));
}

/** The published size where it holds the entry, since witnesses may have signed that one; else all that is durable. */
function sizeOver({ logs }: Service, index: number): number | undefined {
  return index < logs.own.publishedSize ? logs.own.publishedSize : undefined;
}
