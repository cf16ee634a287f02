import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import { ACI_VERSION } from '../../attestation/aci/keyset.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import type { Aci, AciExchange } from '../receipts/aci/aci.ts';
import { dialectOf } from './dialect.ts';
import { endingOf, ServiceError } from './errors.ts';
import type { InferenceRoute } from './inference.ts';
import type { Lifetime } from './lifetime.ts';
import { isObject } from './members.ts';
import type { AnswerHead, Reply } from './reply.ts';
import type { ServiceRequest } from './request.ts';

/** What the ids of our answers begin with, before the receipt id. */
const ANSWER_IDS: Readonly<Record<string, string>> = {
  '/v1/chat/completions': 'chatcmpl-',
  '/v1/completions': 'cmpl-',
  '/v1/responses': 'resp_',
};
const LOOKUP = /^(?:chatcmpl-|cmpl-|resp_)?([0-9a-f]{32})$/;
const MAX_SESSIONS = 1024;

/** The receipt id in what a client looks a receipt up by; undefined for anything else. */
export function aciReceiptId(text: unknown): string | undefined {
  return typeof text === 'string' ? LOOKUP.exec(text)?.[1] : undefined;
}

/** Has a handler say on every answer which version and keyset is served; hints, which nothing vouches for. */
export function withAciHeaders(aci: Aci | undefined, path: string, handler: RequestHandler): RequestHandler {
  if (!aci || !['openai', 'aci'].includes(dialectOf(path))) return handler;
  return (request, response, next) => {
    response.setHeader('x-aci-version', ACI_VERSION);
    response.setHeader('x-aci-keyset-digest', aci.identity.digest);
    handler(request, response, next);
  };
}

interface Watched {
  readonly route: InferenceRoute;
  readonly reply: Reply;
}

interface WatchedParts {
  readonly route: InferenceRoute;
  readonly reply: Reply;
  readonly request: ServiceRequest;
  readonly response: ServerResponse;
  readonly lifetime: Pick<Lifetime, 'gone'>;
}

/** The same exchange with a receipt of ACI for it. Only OpenAI's APIs have one. */
export function watchForAci(aci: Aci | undefined, parts: WatchedParts): Watched {
  const { route } = parts;
  if (!aci || route.dialect !== 'openai') return parts;
  const reply = new AciReply(aci, parts);
  return { reply, route: constrained(route, (model) => (reply.model = model)) };
}

/** Takes what ACI lets a request say of its provider out of the body, before the API reads the rest. */
function constrained(route: InferenceRoute, onModel: (model: string) => void): InferenceRoute {
  return {
    ...route,
    name: (request, engine) => {
      const named = route.name(request, engine);
      if (isObject(named.input) && typeof named.input['model'] === 'string') onModel(named.input['model']);
      return named;
    },
    // Judged here, after admission: a refusal has receipts, too.
    answer: (call) => {
      const { input } = call;
      if (!isObject(input)) return route.answer(call);
      const { provider, ...rest } = input;
      checkProvider(provider ?? undefined);
      return route.answer({ ...call, input: rest });
    },
  };
}

function checkProvider(provider: unknown): void {
  if (provider === undefined) return;
  if (!isObject(provider)) throw invalid('provider', 'provider is an object');
  const { aci_verified: verified, aci_session_ids: sessions, ...others } = provider;
  const [other] = Object.keys(others);
  if (other !== undefined) throw invalid(`provider.${other.slice(0, 64)}`, 'a member is not known');
  if (verified !== undefined && typeof verified !== 'boolean') {
    throw invalid('provider.aci_verified', 'aci_verified is true or false');
  }
  if (sessions === undefined) return;
  const isSession = (id: unknown): boolean => typeof id === 'string' && /^[0-9a-f]{64}$/.test(id);
  const isList =
    Array.isArray(sessions) &&
    sessions.length > 0 &&
    sessions.length <= MAX_SESSIONS &&
    sessions.every(isSession);
  if (!isList || verified === false) {
    throw invalid(
      'provider.aci_session_ids',
      'aci_session_ids is a list of 64 hex digits each, and implies aci_verified',
    );
  }
  throw new ServiceError(
    'SESSION_NOT_ACCEPTED',
    'this service answers itself: it has no sessions with others',
    'provider.aci_session_ids',
  );
}

function invalid(param: string, message: string): ServiceError {
  return new ServiceError('INVALID_INPUT', message, param);
}

/** Hashes what goes out, before any seal, and has the receipt made when it is whole. */
class AciReply implements Reply {
  readonly #aci: Aci;
  readonly #parts: WatchedParts;
  readonly #identity: AciExchange['identity'];
  readonly #hash = createHash('sha256');
  #answer: Pick<AciExchange, 'id' | 'chatId' | 'forwarded'> | undefined;
  /** As the client asked for it; null where the request was refused before. */
  model: string | null = null;

  constructor(aci: Aci, parts: WatchedParts) {
    this.#aci = aci;
    this.#parts = parts;
    this.#identity = aci.identity;
  }

  get status(): number | undefined {
    return this.#parts.reply.status;
  }

  send(head: AnswerHead, body: Uint8Array): void | Promise<void> {
    this.#open(head);
    this.#hash.update(body);
    this.#issue();
    return this.#parts.reply.send(head, body);
  }

  begin(head: AnswerHead): void {
    this.#open(head);
    this.#parts.reply.begin(head);
  }

  write(event: Uint8Array): void {
    this.#hash.update(event);
    this.#parts.reply.write(event);
  }

  end(): void | Promise<void> {
    this.#issue();
    return this.#parts.reply.end();
  }

  #open({ receipt, failure }: AnswerHead): void {
    if (!receipt) return;
    const id = toHex(receipt.id);
    const { request, response } = this.#parts;
    const prefix = failure ? undefined : ANSWER_IDS[request.path];
    this.#answer = {
      id,
      chatId: prefix === undefined ? null : prefix + id,
      forwarded: !failure || endingOf(failure)?.outcome !== 'refused',
    };
    response.setHeader('x-receipt-id', id);
  }

  /** An answer that nobody is there to take has none: its hash would be of bytes that were not sent. */
  #issue(): void {
    const { request, lifetime } = this.#parts;
    if (!this.#answer || lifetime.gone) return;
    const { method, path, tenant, bytes } = request;
    this.#aci.issue({
      ...this.#answer,
      identity: this.#identity,
      tenant,
      model: this.model,
      endpoint: path,
      method,
      request: bytes,
      responseHash: this.#hash.digest(),
    });
  }
}
