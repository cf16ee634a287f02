import type { IncomingMessage } from 'node:http';
import type { RequestHandler } from 'express';
import { ENCAPSULATED_KEY_HEADER, SEALED_CONTENT_TYPE } from '../../../attestation/channel/hpke.ts';
import { watchForAci } from '../aci.ts';
import { mediaType, readBody, requireJson } from '../body.ts';
import { errorBody } from '../dialect.ts';
import { type Context, endpoint, failureHead, type Frame } from '../endpoint.ts';
import { toServiceError } from '../errors.ts';
import type { InferenceRoute } from '../inference.ts';
import type { Reply } from '../reply.ts';
import { headerNonce, requireNonce, type ServiceRequest, wantsFresh } from '../request.ts';
import { decryptEhbp, unseal } from '../sealed.ts';
import type { Service } from '../service.ts';
import { JSON_LENGTH_HEADER, readFraming } from '../tensorFraming.ts';
import { channelOf } from '../tls.ts';

/** What a seal adds to a body: frame length, tag, and the encoding of nonce, method and path. */
const SEAL_BYTES = 64 * 1024;

/** What an inference API needs of the service, where nothing is sealed. */
export type PlainService = Frame & Pick<Service, 'gate' | 'admission' | 'vouched' | 'aci'>;

type Serve<S> = (
  service: S,
  route: InferenceRoute,
  context: Context,
  tenant: string | undefined,
) => Promise<void>;

/** Mounts an inference API: authenticates, reads, opens what is sealed, and has the answer vouched for. */
export function inferenceEndpoint(service: Service, name: string, route: InferenceRoute): RequestHandler {
  return admitted(service, name, route, (...exchange) => {
    const { request } = exchange[2];
    if (isSealed(request)) return serveSealed(...exchange);
    return isEhbp(request) ? serveEhbp(...exchange) : servePlain(...exchange);
  });
}

/** The same for a process that has no key to open what is sealed. */
export function plainEndpoint(service: PlainService, name: string, route: InferenceRoute): RequestHandler {
  return admitted(service, name, route, servePlain);
}

export function isSealed({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return mediaType(headers['content-type']) === SEALED_CONTENT_TYPE;
}

/** Clients of EHBP send the header with every body; a request without a body is plain. */
function isEhbp({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return headers[ENCAPSULATED_KEY_HEADER] !== undefined;
}

function admitted<S extends PlainService>(
  service: S,
  name: string,
  route: InferenceRoute,
  serve: Serve<S>,
): RequestHandler {
  return endpoint(service, { route: name, dialect: route.dialect }, async (context) => {
    const tenant = service.gate.tenantOf(context.request);
    service.admission.enter(tenant);
    try {
      await serve(service, route, context, tenant);
    } finally {
      service.admission.leave(tenant);
    }
    return undefined;
  });
}

async function servePlain(
  service: PlainService,
  route: InferenceRoute,
  context: Context,
  tenant: string | undefined,
): Promise<void> {
  const { request, reply } = context;
  const jsonLength = framingOf(route, request.headers['content-type'], request.headers[JSON_LENGTH_HEADER]);
  const nonce = headerNonce(request);
  const bytes = await readBody(request, service.config.limits.bodyBytes);
  await serve(service, route, context, reply, {
    method: request.method,
    path: request.originalUrl,
    params: request.params as ServiceRequest['params'],
    bytes,
    jsonLength,
    nonce,
    fresh: wantsFresh(request),
    channel: channelOf(request.socket),
    tenant,
  });
}

async function serveSealed(
  service: Service,
  route: InferenceRoute,
  context: Context,
  tenant: string | undefined,
): Promise<void> {
  const { request, outgoing } = context;
  const body = await readBody(request, service.config.limits.bodyBytes + SEAL_BYTES);
  const { request: inner, reply } = await unseal(service.unsealers(), request, body, outgoing);
  await refusingInside(route, context, reply, () => {
    const jsonLength = framingOf(route, inner.contentType, undefined);
    return serve(service, route, context, reply, {
      method: inner.method,
      path: inner.path,
      params: request.params as ServiceRequest['params'],
      bytes: inner.body,
      jsonLength,
      nonce: requireNonce(inner.nonce),
      fresh: wantsFresh(request),
      channel: 'hpke',
      tenant,
    });
  });
}

/** Of what is said outside the body, the carrier may have made anything: the receipt says what was taken from there. */
async function serveEhbp(
  service: Service,
  route: InferenceRoute,
  context: Context,
  tenant: string | undefined,
): Promise<void> {
  const { request, outgoing } = context;
  const jsonLength = framingOf(route, request.headers['content-type'], request.headers[JSON_LENGTH_HEADER]);
  const nonce = headerNonce(request);
  const encrypted = await readBody(request, service.config.limits.bodyBytes + SEAL_BYTES);
  const { body, reply } = await decryptEhbp(service.unsealers(), request, encrypted, outgoing);
  await refusingInside(route, context, reply, () =>
    serve(service, route, context, reply, {
      method: request.method,
      path: request.originalUrl,
      params: request.params as ServiceRequest['params'],
      bytes: body,
      jsonLength,
      nonce,
      fresh: wantsFresh(request),
      channel: 'hpke',
      tenant,
    }),
  );
}

/** What is refused after the opening is refused under encryption: its text is for the client only. */
async function refusingInside(
  route: InferenceRoute,
  { response, lifetime, facts }: Context,
  reply: Reply,
  answer: () => Promise<void>,
): Promise<void> {
  try {
    await answer();
  } catch (error) {
    if (response.headersSent) throw error;
    const failure = toServiceError(error);
    if (failure.code === 'INTERNAL') throw error;
    facts.code = failure.code;
    if (!lifetime.gone) await reply.send(failureHead(failure), errorBody(route.dialect, failure));
  } finally {
    facts.status = reply.status;
  }
}

/** Under a seal the content type says it, as headers outside are the carrier's. */
export function framingOf(
  route: InferenceRoute,
  contentType: string | undefined,
  header: string | readonly string[] | undefined,
): number | undefined {
  if (route.takesTensors) return readFraming(contentType, header);
  requireJson(contentType);
  return undefined;
}

async function serve(
  { vouched, aci }: Pick<PlainService, 'vouched' | 'aci'>,
  route: InferenceRoute,
  { lifetime, facts, response }: Context,
  reply: Reply,
  request: ServiceRequest,
): Promise<void> {
  const watched = watchForAci(aci, { route, reply, request, response, lifetime });
  Object.assign(facts, await vouched.serve(watched.route, request, watched.reply, lifetime));
}
