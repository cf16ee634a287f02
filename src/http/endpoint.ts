import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Request, RequestHandler, Response } from 'express';
import { type Dialect, errorBody, errorType } from './dialect.ts';
import { type ServiceError, toServiceError } from './errors.ts';
import { Lifetime } from './lifetime.ts';
import { stackFrames } from './logging.ts';
import { Outgoing } from './outgoing.ts';
import { type AnswerHead, PlainReply } from './reply.ts';
import { KEY_CONFIG_PROBLEM, SealedUnopened } from './sealed.ts';
import type { Metrics } from './metrics.ts';
import type { Service } from './service.ts';

/** One request on its way through a route. */
export interface Context {
  readonly request: Request;
  readonly response: Response;
  readonly outgoing: Outgoing;
  readonly reply: PlainReply;
  readonly lifetime: Lifetime;
  readonly facts: Facts;
}

/** What logs and metrics say of a request, besides route and time. */
export interface Facts {
  readonly requestId: string;
  /** Status inside the seal, where there is one. */
  status?: number | undefined;
  code?: string | undefined;
  model?: string;
  outcome?: string;
}

export interface Answer extends AnswerHead {
  readonly body: Uint8Array;
}

/** What a route does. An answer is sent; undefined where it was sent already. */
export type Action = (context: Context) => Promise<Answer | undefined> | Answer;

/** What an answer to a GET depends on. It looks the same whether it came openly or under a seal. */
export interface ReadContext {
  readonly request: Pick<IncomingMessage, 'headers'> & {
    readonly params: Readonly<Record<string, string | string[] | undefined>>;
    readonly query: Readonly<Record<string, unknown>>;
  };
  readonly lifetime: Pick<Lifetime, 'signal' | 'failure'>;
}

/** An action that may be asked for under a seal, too. */
export type ReadAction = (context: ReadContext) => Promise<Answer> | Answer;

/** Where a handler answers. */
export interface Route {
  readonly method: 'get' | 'post' | 'put';
  readonly path: string;
  readonly handler: RequestHandler;
}

/** A route as its name in logs and metrics, and the way it writes errors. */
export interface EndpointOptions {
  readonly route: string;
  readonly dialect: Dialect;
}

/** What every route needs of the service. */
export type Frame = Pick<Service, 'config' | 'lifetimes' | 'log' | 'logsRequests'> & {
  readonly metrics: Pick<Metrics, 'countRequest'>;
};

const PREFIX = randomBytes(6).toString('base64url');
let count = 0;

/** An id for logs: a prefix of this process and a number. */
export function nextRequestId(): string {
  count++;
  return `${PREFIX}-${count.toString(36)}`;
}

/** The frame of every route: request id, lifetime, errors in the route's dialect, metrics and log. */
export function endpoint(service: Frame, options: EndpointOptions, action: Action): RequestHandler {
  return (request, response) => {
    void handle(service, options, action, request, response);
  };
}

async function handle(
  service: Frame,
  { route, dialect }: EndpointOptions,
  action: Action,
  request: Request,
  response: Response,
): Promise<void> {
  const started = performance.now();
  const facts: Facts = { requestId: nextRequestId() };
  const { requestTimeoutMs } = service.config.limits;
  const lifetime = new Lifetime(response, requestTimeoutMs);
  const outgoing = new Outgoing(response, requestTimeoutMs, () => {
    lifetime.abort('gone');
  });
  const reply = new PlainReply(outgoing);
  service.lifetimes.add(lifetime);
  response.setHeader('x-request-id', facts.requestId);
  response.setHeader('x-content-type-options', 'nosniff');
  try {
    const answer = await action({ request, response, outgoing, reply, lifetime, facts });
    if (answer) await reply.send(answer, answer.body);
  } catch (error) {
    await answerFailure(service, { reply, response, dialect, facts }, error);
  } finally {
    lifetime.end();
    service.lifetimes.delete(lifetime);
    finish(service, route, lifetime.gone ? 499 : (facts.status ?? response.statusCode), facts, started);
  }
}

interface Failing {
  readonly reply: PlainReply;
  readonly response: Response;
  readonly dialect: Dialect;
  readonly facts: Facts;
}

/** Answers an error that no receipt covers. */
async function answerFailure(
  { log }: Frame,
  { reply, response, dialect, facts }: Failing,
  error: unknown,
): Promise<void> {
  if (error instanceof SealedUnopened) {
    facts.code = 'SEALED_UNOPENED';
    if (!response.destroyed) await reply.send(KEY_CONFIG_PROBLEM, KEY_CONFIG_PROBLEM.body);
    return;
  }
  const failure = toServiceError(error);
  facts.code = failure.code;
  if (failure.code === 'INTERNAL') {
    log.error('a request failed unexpectedly', { requestId: facts.requestId, frames: stackFrames(error) });
  }
  if (response.headersSent) {
    response.destroy();
    return;
  }
  // What is left of the body would be read as the next request, or waited for.
  if (failure.code === 'BODY_INCOMPLETE') response.setHeader('connection', 'close');
  if (!response.destroyed) await reply.send(failureHead(failure, dialect), errorBody(dialect, failure));
}

/** The head of an error without a receipt. */
export function failureHead({ status, retryAfter }: ServiceError, dialect: Dialect = 'ours'): AnswerHead {
  return { status, contentType: errorType(dialect), retryAfter };
}

/** Counts and logs a request that has its answer. */
export function finish(service: Frame, route: string, status: number, facts: Facts, started: number): void {
  const ms = performance.now() - started;
  service.metrics.countRequest(route, status, ms / 1000);
  if (status >= 500) service.log.info('request failed', { ...facts, route, status, ms });
  else if (service.logsRequests) service.log.debug('request', { ...facts, route, status, ms });
}

/** An answer of JSON. */
export function json(value: unknown, status = 200): Answer {
  return { status, contentType: 'application/json', body: Buffer.from(JSON.stringify(value)) };
}
