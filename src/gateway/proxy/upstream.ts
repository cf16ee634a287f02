import type { Verdict } from '../../../attestation/verdict/verdict.ts';
import { connect } from '../../client/connect.ts';
import { ClientError } from '../../client/errors.ts';
import type { Session } from '../../client/session.ts';
import { failureOf, ProxyError } from './errors.ts';
import { saidTier, type ProxyLimits, type ProxySettings } from './settings.ts';

/** `accepted` is the only one in which anything is sent. */
export type UpstreamState = 'connecting' | 'accepted' | 'unavailable' | 'stopped';

/** What `/status` says of an upstream. */
export interface UpstreamStatus {
  readonly url: string;
  readonly state: UpstreamState;
  /** Why it is not accepted; absent while it is. */
  readonly code?: string;
  readonly reason?: string;
  /** ISO 8601. */
  readonly since: string;
  readonly decision?: Verdict['decision'];
  readonly tier?: Verdict['tier'];
  readonly simulated?: readonly string[];
  /** Lower-case hex. */
  readonly keysetDigest?: string;
  /** Answers whose receipt was accepted, and those that were refused. */
  readonly answers: number;
  readonly refused: number;
}

type Parts = Pick<
  ProxySettings,
  'judging' | 'extraAnchors' | 'transport' | 'apiKey' | 'archive' | 'receipts' | 'onEvent'
> & {
  readonly limits: ProxyLimits;
};

/**
 * One service. It is asked for evidence until that is accepted, with growing pauses; then its session keeps the
 * evidence young. Where a renewal is refused, nothing more is sent until evidence is accepted again.
 */
export class Upstream {
  readonly url: string;
  readonly #parts: Parts;
  readonly #stopping = new AbortController();
  #state: UpstreamState = 'connecting';
  #since = Date.now();
  #failure: ClientError | undefined;
  #session: Session | undefined;
  #verdict: Verdict | undefined;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #attempt: Promise<void> | undefined;
  /** Answers that were handed on with an accepted receipt. */
  answers = 0;
  #refused = 0;

  constructor(url: string, parts: Parts) {
    this.url = url;
    this.#parts = parts;
  }

  get isAccepted(): boolean {
    return this.#state === 'accepted';
  }

  /** Asks for evidence once, and on in the background until it is accepted. Never throws. */
  start(): Promise<void> {
    this.#attempt ??= this.#try().finally(() => (this.#attempt = undefined));
    return this.#attempt;
  }

  /** Throws `NO_UPSTREAM` while no evidence is accepted; nothing is sent then. */
  get session(): Session {
    if (!this.#session || !this.isAccepted) throw this.unavailable();
    return this.#session;
  }

  /** The service did not answer, or its evidence was refused: nothing is sent until evidence is accepted again. */
  lose(error: ClientError): void {
    if (this.isAccepted) this.#fail(error);
  }

  /** An answer that came and was refused. */
  countRefused(error: unknown): void {
    if (failureOf(error).isFinal) this.#refused++;
  }

  unavailable(): ProxyError {
    const reason = this.#failure ? `${this.#failure.code}: ${this.#failure.message}` : 'no evidence yet';
    return new ProxyError('NO_UPSTREAM', `${this.url}: ${reason}`, { cause: this.#failure });
  }

  get status(): UpstreamStatus {
    const failure = this.isAccepted ? undefined : this.#failure;
    const session = this.isAccepted ? this.#session : undefined;
    return {
      url: this.url,
      state: this.#state,
      ...(failure && { code: failure.code, reason: failure.message }),
      since: new Date(this.#since).toISOString(),
      ...(this.#verdict && {
        decision: this.#verdict.decision,
        tier: saidTier(this.#verdict.tier, this.#parts.extraAnchors),
        simulated: this.#verdict.simulated,
      }),
      ...(session && { keysetDigest: session.keysetDigest }),
      answers: this.answers,
      refused: this.#refused,
    };
  }

  stop(): void {
    this.#enter('stopped');
    clearTimeout(this.#retry);
    this.#stopping.abort();
  }

  async #try(): Promise<void> {
    clearTimeout(this.#retry);
    try {
      this.#session = await this.#connect();
      if (this.#state === 'stopped') return;
      this.#failures = 0;
      this.#failure = undefined;
      this.#enter('accepted');
    } catch (error) {
      if (this.#state === 'stopped') return;
      if (!(error instanceof ClientError)) this.#parts.onEvent?.({ kind: 'fault', error });
      this.#fail(
        error instanceof ClientError ? error : new ClientError('BAD_ANSWER', 'the connection failed'),
      );
    }
  }

  #connect(): Promise<Session> {
    const { judging, transport, apiKey, archive, receipts, onEvent } = this.#parts;
    return connect(this.url, {
      ...judging,
      ...(transport && { transport: transport() }),
      ...(apiKey !== undefined && { apiKey }),
      ...(archive && { store: archive }),
      receipts: receipts ?? (archive ? 'bundle' : 'cited'),
      signal: this.#stopping.signal,
      onVerdict: (verdict) => {
        this.#verdict = verdict;
        onEvent?.({ kind: 'evidence', upstream: this.url, verdict });
      },
    });
  }

  #fail(error: ClientError): void {
    const { retryMs, maxRetryMs } = this.#parts.limits;
    const pause = Math.min(retryMs * 2 ** Math.min(this.#failures++, 20), maxRetryMs);
    this.#failure = error;
    this.#session = undefined;
    this.#enter('unavailable');
    const { code, message } = error;
    this.#parts.onEvent?.({ kind: 'unavailable', upstream: this.url, code, message, retryMs: pause });
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.start(), pause);
    this.#retry.unref();
  }

  #enter(state: UpstreamState): void {
    if (this.#state === state || this.#state === 'stopped') return;
    this.#state = state;
    this.#since = Date.now();
  }
}
