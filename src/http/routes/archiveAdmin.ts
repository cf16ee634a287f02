import { fromHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { ArchiveError } from '../../archive/errors.ts';
import type { Hold } from '../../archive/holds.ts';
import { MAX_POLICY_BYTES } from '../../archive/policies.ts';
import type { Asker } from '../auth.ts';
import { readBody, requireJson } from '../body.ts';
import { type Answer, json, type Route } from '../endpoint.ts';
import type { Service } from '../service.ts';
import { type Asked, makeRoute } from './archiveRoute.ts';
import { readJson, ruledBody, scopedBody } from './archiveRequests.ts';

const REGISTERED = 'policy registered over HTTP';

/** What admins do, each an act in the log before it takes effect, and what auditors read of that. */
export function administrationRoutes(service: Service): readonly Route[] {
  const audited = makeRoute(service, ({ gate }, { request }) => gate.requireAuditor(request));
  const admin = makeRoute(service, ({ gate }, { request }) => gate.requireAdminKey(request));
  return [
    audited('get', '/v1/archive/holds', async ({ archive }) =>
      json({ holds: (await archive.administration.holds()).map(holdJson) }),
    ),
    admin('post', '/v1/archive/holds', placeHold),
    admin('post', '/v1/archive/holds/:id/lift', liftHold),
    admin('post', '/v1/archive/erasures', erase),
    audited('get', '/v1/archive/acts', async ({ archive }) => json({ acts: await archive.reading.acts() })),
    audited('get', '/v1/archive/policies', async ({ archive }) =>
      json({ policies: await archive.administration.policies() }),
    ),
    admin('post', '/v1/archive/policies', registerPolicy),
    audited('get', '/v1/archive/policies/:digest', readPolicy),
  ];
}

async function placeHold({ context, asker, archive }: Asked): Promise<Answer> {
  const { rule, scope } = scopedBody(await readJson(context));
  const id = await archive.administration.hold({ actor: actorOf(asker), rule }, scope);
  return json({ id }, 201);
}

async function liftHold({ context, asker, archive }: Asked): Promise<Answer> {
  const { rule } = ruledBody(await readJson(context));
  const id = parameter(context.request.params['id']);
  await archive.administration.lift({ actor: actorOf(asker), rule }, id);
  return json({ lifted: id });
}

async function erase({ context, asker, archive }: Asked): Promise<Answer> {
  const { rule, scope } = scopedBody(await readJson(context));
  const erased = await archive.administration.erase({ actor: actorOf(asker), rule }, scope);
  return json({ erased });
}

async function registerPolicy({ context, asker, archive }: Asked): Promise<Answer> {
  const { request } = context;
  requireJson(request.headers['content-type']);
  const policy = await readBody(request, MAX_POLICY_BYTES);
  const authority = { actor: actorOf(asker), rule: REGISTERED };
  return json({ digest: await archive.administration.registerPolicy(authority, policy) }, 201);
}

async function readPolicy({ context, archive }: Asked): Promise<Answer> {
  const digest = parameter(context.request.params['digest']);
  if (!/^[0-9a-f]{64}$/.test(digest)) {
    throw new ArchiveError('NOT_FOUND', 'a digest is 64 lower-case hex digits');
  }
  const body = utf8(await archive.administration.policy(fromHex(digest)));
  return { status: 200, contentType: 'application/json', body };
}

function holdJson({ id, placed, actor, rule, scope, lifted }: Hold): object {
  const { receipt = null, tenant = null, from = null, to = null } = scope;
  return { id, placed, actor, rule, receipt, tenant, from, to, lifted: lifted ?? null };
}

function actorOf({ name }: Asker): string {
  return name ?? 'admin';
}

function parameter(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
