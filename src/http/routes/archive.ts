import { toBase64Url } from '../../../attestation/bytes/bytes.ts';
import type { ArchivedContent } from '../../archive/contentRecord.ts';
import { ArchiveError } from '../../archive/errors.ts';
import type { ReceiptRow } from '../../archive/query.ts';
import { type Answer, type Context, json, type Route } from '../endpoint.ts';
import type { Service } from '../service.ts';
import { administrationRoutes } from './archiveAdmin.ts';
import { type Asked, makeRoute } from './archiveRoute.ts';
import { claimBody, parseQuery, readJson } from './archiveRequests.ts';
import { BUNDLE_MEDIA_TYPE, RECEIPT_MEDIA_TYPE } from './receipts.ts';

/** Rule of a look at content where the admin names no other. */
const LOOK = 'content read over HTTP';

/** `/v1/archive/...`: receipts of all instances. Without a key there is nothing to see, on loopback, too. */
export function archiveRoutes(service: Service): readonly Route[] {
  const route = makeRoute(service, ({ gate }, { request }) => gate.roleOf(request));
  const audited = makeRoute(service, ({ gate }, { request }) => gate.requireAuditor(request));
  return [
    route('get', '/v1/archive/receipts', listReceipts),
    route('get', '/v1/archive/receipts/:id', readReceipt),
    route('get', '/v1/archive/receipts/:id/facts', readFacts),
    route('get', '/v1/archive/receipts/:id/bundle', readBundle),
    route('get', '/v1/archive/receipts/:id/content', readContent),
    route('post', '/v1/archive/receipts/:id/claim', claim),
    audited('get', '/v1/archive/status', status),
    ...administrationRoutes(service),
  ];
}

async function listReceipts({ context, asker, archive }: Asked): Promise<Answer> {
  const { receipts, next } = await archive.reading.query(asker, parseQuery(context.request.query));
  return json({ receipts: receipts.map(rowJson), next: next ?? null });
}

async function readReceipt({ context, asker, archive }: Asked): Promise<Answer> {
  const body = await archive.reading.receipt(asker, idOf(context));
  return { status: 200, contentType: RECEIPT_MEDIA_TYPE, body };
}

async function readFacts({ context, asker, archive }: Asked): Promise<Answer> {
  return json(rowJson(await archive.reading.row(asker, idOf(context))));
}

async function readBundle({ context, asker, archive }: Asked): Promise<Answer> {
  const body = await archive.reading.bundle(asker, idOf(context));
  return { status: 200, contentType: BUNDLE_MEDIA_TYPE, body };
}

async function readContent({ context, asker, archive }: Asked): Promise<Answer> {
  const { rule } = context.request.query;
  const named = typeof rule === 'string' ? rule : LOOK;
  return json(contentJson(await archive.reading.content(asker, idOf(context), named)));
}

async function claim({ context, asker, archive }: Asked): Promise<Answer> {
  const { k } = claimBody(await readJson(context));
  await archive.reading.claim(asker, idOf(context), k);
  return json({ claimed: idOf(context) });
}

async function status({ archive }: Asked): Promise<Answer> {
  const mirror = archive.mirrorStatus;
  // A database that does not answer is a state to be told, not a request that failed.
  const store = await archive.storeStatus().catch((error: unknown) => {
    if (error instanceof ArchiveError) return { code: error.code, advice: error.advice };
    throw error;
  });
  return json({ mirror, store });
}

function idOf({ request }: Context): string {
  const { id } = request.params;
  return typeof id === 'string' ? id : '';
}

/** A row as JSON; what is not known is null. */
export function rowJson(row: ReceiptRow): object {
  const { id, instance, index, issuedAt, model, manifest, config, tenant, outcome, content } = row;
  return {
    id,
    instance,
    index,
    issued_at: issuedAt,
    model,
    manifest,
    config,
    tenant: tenant ?? null,
    outcome,
    evidence: row.evidence ?? null,
    covering: row.covering ?? null,
    policy: row.policy ?? null,
    content,
  };
}

export function contentJson({ receipt, k, request, response }: ArchivedContent): object {
  return {
    receipt: Buffer.from(receipt).toString('hex'),
    k: toBase64Url(k),
    request: toBase64Url(request),
    response:
      response.kind === 'body'
        ? { kind: 'body', body: toBase64Url(response.body) }
        : { kind: 'stream', chunks: response.chunks.map(toBase64Url) },
  };
}
