import type { Metadata, sendUnaryData } from '@grpc/grpc-js';
import { type Facts, finish, nextRequestId } from '../http/endpoint.ts';
import { ServiceError, toServiceError } from '../http/errors.ts';
import { type Carrier, Lifetime } from '../http/lifetime.ts';
import { stackFrames } from '../http/logging.ts';
import type { Headed } from '../http/request.ts';
import type { Service } from '../http/service.ts';
import { type GrpcCall, GrpcReply } from './reply.ts';

/** One call on its way. */
export interface Context {
  readonly call: GrpcCall;
  readonly headed: Headed;
  readonly reply: GrpcReply;
  readonly lifetime: Lifetime;
  readonly facts: Facts;
}

/** What a call does. An answer is sent; undefined where it was sent already. */
export type Action = (context: Context) => Promise<Uint8Array | undefined> | Uint8Array;

export type Handler = (call: GrpcCall, respond: sendUnaryData<Buffer>) => void;

/**
 * How much before the client's deadline the work ends (ms), or half of the time where there is less: after the
 * deadline nothing is sent any more, neither by grpc-js nor by us.
 */
const DEADLINE_MARGIN = 50;

/** The frame of every call: request id, lifetime, refusals, metrics and log. */
export function grpcEndpoint(service: Service, route: string, action: Action): Handler {
  return (call, respond) => {
    void handle(service, route, action, call, respond);
  };
}

async function handle(
  service: Service,
  route: string,
  action: Action,
  call: GrpcCall,
  respond: sendUnaryData<Buffer>,
): Promise<void> {
  const started = performance.now();
  const facts: Facts = { requestId: nextRequestId() };
  const reply = new GrpcReply(call, respond, facts.requestId);
  const lifetime = startLifetime(call, reply, service.config.limits.requestTimeoutMs);
  service.lifetimes.add(lifetime);
  try {
    const answer = await action({ call, headed: headOf(call.metadata), reply, lifetime, facts });
    if (answer) await reply.send({ status: 200, contentType: '' }, answer);
  } catch (error) {
    await refuse(service, { reply, lifetime, facts }, error);
  } finally {
    lifetime.end();
    service.lifetimes.delete(lifetime);
    finish(service, route, lifetime.gone ? 499 : (reply.status ?? 500), facts, started);
  }
}

/** Until the client goes, its deadline or ours passes, or the service stops. */
function startLifetime(call: GrpcCall, reply: GrpcReply, timeoutMs: number): Lifetime {
  const left = Number(call.getDeadline()) - Date.now();
  const carrier: Carrier = {
    get writableFinished() {
      return reply.status !== undefined;
    },
    // grpc-js says `cancelled` at the end of every call, also where its own timer ended it.
    once: (_event, listener) => call.once('cancelled', listener),
  };
  return new Lifetime(carrier, Math.min(timeoutMs, left - Math.min(DEADLINE_MARGIN, left / 2)));
}

/** The metadata by which a request is known, as the headers of HTTP. What is given twice differs from each. */
function headOf(metadata: Metadata): Headed {
  const names = ['authorization', 'vouchsafe-nonce', 'vouchsafe-fresh'];
  const given = names.map((name) => [name, metadata.get(name).join(', ')]);
  return { headers: Object.fromEntries(given.filter(([, value]) => value !== '')) as Headed['headers'] };
}

/** Answers an error that no receipt covers. */
async function refuse(
  { log }: Service,
  { reply, lifetime, facts }: Pick<Context, 'reply' | 'lifetime' | 'facts'>,
  error: unknown,
): Promise<void> {
  const failure = lifetime.failure ?? toServiceError(error);
  facts.code = failure.code;
  if (failure.code === 'INTERNAL') {
    log.error('a request failed unexpectedly', { requestId: facts.requestId, frames: stackFrames(error) });
  }
  if (reply.status === undefined && !lifetime.gone) await reply.refuse(failure);
}

/** The one message of a call, exactly as it came. The lifetime ends the wait: slow senders hold no place. */
export function readMessage({ call, lifetime }: Pick<Context, 'call' | 'lifetime'>): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    let message: Uint8Array | undefined;
    const stop = (error: ServiceError | undefined): void => {
      call.pause();
      reject(error ?? new ServiceError('BODY_INCOMPLETE', 'the message ended before its end'));
    };
    lifetime.signal.addEventListener(
      'abort',
      () => {
        stop(lifetime.failure);
      },
      { once: true },
    );
    call.on('data', (bytes: Buffer) => {
      if (message) stop(new ServiceError('BODY_INVALID', 'the call has more than one message'));
      else message = bytes;
    });
    call.once('end', () => {
      if (message) resolve(message);
      else stop(new ServiceError('BODY_INCOMPLETE', 'the call has no message'));
    });
  });
}
