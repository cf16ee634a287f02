import { ClientError } from '../../client/errors.ts';
import type { Session } from '../../client/session.ts';
import { VERIFIED_HEADER } from '../../client/sessionFetch.ts';
import { isUnsent, ProxyError } from './errors.ts';
import { orderFor, type Pin } from './pinning.ts';
import type { ProxyEvent } from './settings.ts';
import type { Upstream } from './upstream.ts';

/** An answer, and who gives it. A stream is not verified yet. */
export interface Given {
  readonly upstream: Upstream;
  readonly session: Session;
  readonly response: Response;
}

export interface Asked {
  /** With query. */
  readonly path: string;
  readonly init: RequestInit;
}

/** The status of a service that takes no requests now. */
const UNAVAILABLE = 503;

/**
 * Sends a request, sealed, to the upstream of its conversation; to the next one where that did not work on it. Throws
 * `NO_UPSTREAM` where none is accepted: nothing was sent then.
 */
export async function ask(
  upstreams: readonly Upstream[],
  pin: Pin,
  asked: Asked,
  onEvent: ((event: ProxyEvent) => void) | undefined,
): Promise<Given> {
  let last: { readonly given?: Given; readonly error?: unknown } = { error: noUpstream(upstreams) };
  for (const upstream of orderFor(pin, upstreams)) {
    if (!upstream.isAccepted) continue;
    const { session } = upstream;
    try {
      const response = await session.fetch(addressOf(session) + asked.path, asked.init);
      if (!isTurnedAway(response)) return { upstream, session, response };
      last = { given: { upstream, session, response } };
      onEvent?.({ kind: 'failover', upstream: upstream.url, code: 'REQUEST_REJECTED' });
    } catch (error) {
      upstream.countRefused(error);
      if (!(error instanceof ClientError) || !isUnsent(error)) throw error;
      last = { error };
      upstream.lose(error);
      onEvent?.({ kind: 'failover', upstream: upstream.url, code: error.code });
    }
  }
  if (last.given) return last.given;
  throw last.error;
}

/** Why nothing is sent, of every upstream. */
export function noUpstream(upstreams: readonly Upstream[]): ProxyError {
  const reasons = upstreams.map((upstream) => upstream.unavailable().message);
  return new ProxyError('NO_UPSTREAM', reasons.join('; '), { retryAfter: 5 });
}

export function addressOf({ baseURL }: Session): string {
  return baseURL.replace(/\/v1$/, '');
}

/**
 * A service that stops or has no evidence says so before it works on anything, so without a receipt. A box on the way
 * can say it, too, and have a request answered twice, no more.
 */
function isTurnedAway({ status, headers }: Response): boolean {
  const isVouched = headers.get(VERIFIED_HEADER) !== '?0' || headers.has('vouchsafe-receipt-id');
  return status === UNAVAILABLE && !isVouched;
}
