import { ServiceError } from './errors.ts';

type Cause = 'gone' | 'deadline' | 'stopping';

/** What an answer goes out on. Its `close` is early unless all was written. */
export interface Carrier {
  readonly writableFinished: boolean;
  once(event: 'close', listener: () => void): unknown;
}

/** How long one request is worth work: until the client goes, the deadline passes or the service stops. */
export class Lifetime {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #cause: Cause | undefined;

  constructor(carrier: Carrier, timeoutMs: number) {
    this.#timer = setTimeout(() => {
      this.abort('deadline');
    }, timeoutMs);
    carrier.once('close', () => {
      if (!carrier.writableFinished) this.abort('gone');
      this.end();
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** True once the client has gone: nothing needs to be sent. */
  get gone(): boolean {
    return this.#cause === 'gone';
  }

  /** Why the work ended early; undefined while it did not. */
  get failure(): ServiceError | undefined {
    switch (this.#cause) {
      case 'gone':
        return new ServiceError('CANCELLED', 'the client went away');
      case 'deadline':
        return new ServiceError('DEADLINE_EXCEEDED', 'the time for one request is over');
      case 'stopping':
        return new ServiceError('STOPPING', 'the service is stopping');
      case undefined:
        return undefined;
    }
  }

  /** The first cause holds, but a client that went away gets nothing, whatever came before. */
  abort(cause: Cause): void {
    if (this.#cause !== undefined && cause !== 'gone') return;
    this.#cause = cause;
    this.#controller.abort();
  }

  /** Forgets the deadline. */
  end(): void {
    clearTimeout(this.#timer);
  }
}

/** Resolves to what `work` gives, or to undefined where `signal` comes first or `work` fails. */
export function untilAborted<Result>(
  work: Promise<Result>,
  signal: AbortSignal,
): Promise<Result | undefined> {
  return new Promise((resolve) => {
    const abort = (): void => {
      resolve(undefined);
    };
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, abort).finally(() => {
      signal.removeEventListener('abort', abort);
    });
  });
}
