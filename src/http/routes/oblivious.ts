import type { IncomingHttpHeaders } from 'node:http';
import { parse as parseQuery } from 'node:querystring';
import type { BinaryRequest } from '../../../attestation/channel/ohttp/bhttp.ts';
import {
  encodeKeyConfigs,
  GATEWAY_PATH,
  keyConfigOf,
  KEYS_TYPE,
} from '../../../attestation/channel/ohttp/keyConfig.ts';
import { mediaType, readBody } from '../body.ts';
import { CACHE, cacheable } from '../caching.ts';
import { dialectOf, errorBody } from '../dialect.ts';
import { type Action, type Answer, type Context, endpoint, failureHead, type Route } from '../endpoint.ts';
import { ServiceError, toServiceError } from '../errors.ts';
import { INFERENCE_ROUTES } from '../inferenceRoutes.ts';
import { stackFrames } from '../logging.ts';
import {
  DATE_PROBLEM,
  isObliviousType,
  KEY_PROBLEM,
  type ObliviousType,
  parseInner,
  unwrap,
  type Unwrapped,
} from '../oblivious.ts';
import { matchPath } from '../pathTemplate.ts';
import type { ReadRoute } from '../readRoutes.ts';
import type { Reply } from '../reply.ts';
import { headerNonce, wantsFresh } from '../request.ts';
import type { Service } from '../service.ts';
import { JSON_LENGTH_HEADER } from '../tensorFraming.ts';
import { framingOf } from './inference.ts';

/** What encapsulation adds to a body: header, head of the request, padding, and 20 bytes for each chunk of 16 KiB. */
const SEAL_BYTES = 128 * 1024;
/** How far a `Date` inside may lie from our clock, either way (ms): a relay that holds a request back longer is seen. */
const DATE_WINDOW_MS = 3_600_000;
/** Share of all places for requests that are read and opened before anybody knows whose they are. */
const OPENING_SHARE = 0.25;

/**
 * The gateway of Oblivious HTTP (RFC 9458 and its chunked form): its key configuration, and requests that say under
 * the seal what they ask for. They reach the same routes as any other; of what carries them nothing is heard.
 */
export function obliviousRoutes(service: Service, reads: readonly ReadRoute[]): readonly Route[] {
  const route = (method: Route['method'], name: string, action: Action): Route => {
    const handler = endpoint(service, { route: name, dialect: 'ours' }, action);
    return { method, path: GATEWAY_PATH, handler };
  };
  return [route('get', 'ohttp keys', keys(service)), route('post', 'ohttp', gateway(service, reads))];
}

/** For clients that trust who carries it. Ours make the same from the keyset of evidence that they verified. */
function keys({ vouching }: Service): Action {
  return ({ request }) => {
    const body = encodeKeyConfigs([keyConfigOf(vouching.keyset)]);
    return cacheable(request, { status: 200, contentType: KEYS_TYPE, body }, CACHE.shortly);
  };
}

function gateway(service: Service, reads: readonly ReadRoute[]): Action {
  const { concurrency, queue } = service.config.limits;
  const places = new OpeningPlaces(Math.ceil((concurrency + queue) * OPENING_SHARE));
  return async (context) => {
    const type = mediaType(context.request.headers['content-type']);
    if (!isObliviousType(type)) {
      throw new ServiceError('CONTENT_TYPE_UNSUPPORTED', 'the body is no request of Oblivious HTTP');
    }
    if (service.admission.isClosed) throw new ServiceError('STOPPING', 'the service is stopping');
    const unwrapped = await places.use(() => receive(service, context, type));
    if (!unwrapped) {
      context.facts.code = 'OHTTP_UNOPENED';
      return KEY_PROBLEM;
    }
    await answer(service, reads, context, unwrapped);
    return undefined;
  };
}

async function receive(
  { config, unsealers, vouching }: Service,
  { request, outgoing }: Context,
  type: ObliviousType,
): Promise<Unwrapped | undefined> {
  const body = await readBody(request, config.limits.bodyBytes + SEAL_BYTES);
  const { generation } = vouching.keyset;
  return unwrap({ unsealers: unsealers(), generation }, type, body, outgoing);
}

/** Bounds the bodies of callers who have not shown a key yet: theirs is inside the seal. */
class OpeningPlaces {
  readonly #most: number;
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#taken >= this.#most) {
      throw new ServiceError('OVERLOADED', `${this.#most} encapsulated requests are being opened`);
    }
    this.#taken++;
    try {
      return await work();
    } finally {
      this.#taken--;
    }
  }
}

/** From here on every answer is sealed, refusals too (RFC 9458 section 5.2). */
async function answer(
  service: Service,
  reads: readonly ReadRoute[],
  context: Context,
  { message, reply }: Unwrapped,
): Promise<void> {
  const { facts, lifetime, response } = context;
  let path = '';
  try {
    const inner = parseInner(message);
    ({ path } = inner);
    await dispatch({ service, reads, context, reply, inner, headers: headersOf(inner) });
  } catch (error) {
    if (response.headersSent) throw error;
    const failure = toServiceError(error);
    facts.code = failure.code;
    if (failure.code === 'INTERNAL') {
      const { requestId } = facts;
      service.log.error('a request failed unexpectedly', { requestId, frames: stackFrames(error) });
    }
    const dialect = dialectOf(path);
    if (!lifetime.gone) await reply.send(failureHead(failure, dialect), errorBody(dialect, failure));
  } finally {
    facts.status = reply.status;
  }
}

/** A request from under a seal, on its way to a route. */
interface Inner {
  readonly service: Service;
  readonly reads: readonly ReadRoute[];
  readonly context: Context;
  readonly reply: Reply;
  readonly inner: BinaryRequest;
  readonly headers: IncomingHttpHeaders;
}

async function dispatch(request: Inner): Promise<void> {
  const { service, reply, inner, headers } = request;
  if (headers.expect !== undefined) {
    throw new ServiceError('SEALED_MALFORMED', 'an expectation cannot be met under a seal');
  }
  if (headers.date !== undefined && !isRecent(headers.date, service.now())) {
    const date = new Date(service.now()).toUTCString();
    await reply.send({ ...DATE_PROBLEM, headers: { ...DATE_PROBLEM.headers, date } }, DATE_PROBLEM.body);
    return;
  }
  const [path = ''] = inner.path.split('?', 1);
  if (inner.method === 'POST' && (await serveInference(request, path))) return;
  if (inner.method === 'GET' && (await serveRead(request, path))) return;
  throw new ServiceError('NOT_FOUND', `nothing answers ${inner.method} here, or not under this seal`);
}

function isRecent(date: string, now: number): boolean {
  return Math.abs(Date.parse(date) - now) <= DATE_WINDOW_MS;
}

/** False where no inference API has this path. */
async function serveInference(
  { service, context, reply, inner, headers }: Inner,
  path: string,
): Promise<boolean> {
  for (const { path: template, route } of INFERENCE_ROUTES) {
    const params = matchPath(template, path);
    if (!params) continue;
    const { gate, admission, vouched } = service;
    const tenant = gate.tenantOf({ headers });
    admission.enter(tenant);
    try {
      const request = {
        method: inner.method,
        path: inner.path,
        params,
        bytes: inner.content,
        jsonLength: framingOf(route, headers['content-type'], headers[JSON_LENGTH_HEADER]),
        nonce: headerNonce({ headers }),
        fresh: wantsFresh({ headers }),
        channel: 'hpke',
        tenant,
      } as const;
      Object.assign(context.facts, await vouched.serve(route, request, reply, context.lifetime));
    } finally {
      admission.leave(tenant);
    }
    return true;
  }
  return false;
}

/** False where nothing that may be read has this path. */
async function serveRead({ reads, context, reply, inner, headers }: Inner, path: string): Promise<boolean> {
  for (const { path: template, action } of reads) {
    const params = matchPath(template, path);
    if (!params) continue;
    const query = parseQuery(inner.path.slice(path.length + 1));
    const given: Answer = await action({ request: { headers, params, query }, lifetime: context.lifetime });
    await reply.send(given, given.body);
    return true;
  }
  return false;
}

/** Headers as Node has them. What may stand once and stands twice is no value that any route takes. */
function headersOf({ headers: fields, content }: BinaryRequest): IncomingHttpHeaders {
  const values = new Map<string, string>();
  for (const [name, value] of fields) {
    const former = values.get(name);
    values.set(name, former === undefined ? value : `${former}, ${value}`);
  }
  const headers: IncomingHttpHeaders = Object.fromEntries(values);
  if (headers['content-encoding'] !== undefined) {
    throw new ServiceError('CONTENT_ENCODING_UNSUPPORTED', 'the body is encoded');
  }
  const length = headers['content-length'];
  if (length !== undefined && length !== String(content.length)) {
    throw new ServiceError('SEALED_MALFORMED', 'the content is not of the length that its header says');
  }
  return headers;
}
