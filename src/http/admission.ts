import { ServiceError } from './errors.ts';

interface Waiter {
  readonly start: () => void;
}

/**
 * Bounds what is under way: so many requests are worked on, so many more wait, are being read or have an answer that
 * is being sent. A place is taken before the body is read, which bounds the memory that bodies and answers take. Where
 * there are several API keys, one of them gets at most half of the places: with bodies that it never ends, or answers
 * that it never reads, it keeps none of the others out.
 */
export class Admission {
  readonly #concurrency: number;
  readonly #places: number;
  /** Most places of one tenant. */
  readonly #share: number;
  readonly #tenants = new Map<string, number>();
  readonly #waiting = new Set<Waiter>();
  #inside = 0;
  #running = 0;
  #closed = false;

  /** `tenants` is the number of API keys. */
  constructor(concurrency: number, queue: number, tenants = 0) {
    this.#concurrency = concurrency;
    this.#places = concurrency + queue;
    this.#share = tenants > 1 ? Math.max(1, Math.floor(this.#places / 2)) : this.#places;
  }

  /** Requests that have a place. */
  get inside(): number {
    return this.#inside;
  }

  /** Requests that wait for their turn: they were read, and the work on them has not begun. */
  get waiting(): number {
    return this.#waiting.size;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Takes a place, or throws `OVERLOADED`. Give it back with `leave`, for the same tenant. */
  enter(tenant?: string): void {
    if (this.#closed) throw new ServiceError('STOPPING', 'the service is stopping');
    if (this.#inside >= this.#places) {
      throw new ServiceError('OVERLOADED', `${this.#places} requests are under way`);
    }
    if (tenant !== undefined) this.#count(tenant);
    this.#inside++;
  }

  leave(tenant?: string): void {
    this.#inside--;
    if (tenant === undefined) return;
    const left = (this.#tenants.get(tenant) ?? 0) - 1;
    if (left > 0) this.#tenants.set(tenant, left);
    else this.#tenants.delete(tenant);
  }

  /** Waits for a turn to work; `signal` ends the wait. Give it back with `finish`. */
  async start(signal: AbortSignal): Promise<void> {
    if (this.#running < this.#concurrency) {
      this.#running++;
      return;
    }
    await this.#turn(signal);
  }

  /** Passes the turn to who has waited longest. */
  finish(): void {
    const [next] = this.#waiting;
    if (next) {
      this.#waiting.delete(next);
      next.start();
    } else {
      this.#running--;
    }
  }

  /** Lets nobody in any more. */
  close(): void {
    this.#closed = true;
  }

  #count(tenant: string): void {
    const held = this.#tenants.get(tenant) ?? 0;
    if (held >= this.#share) {
      throw new ServiceError('OVERLOADED', `${this.#share} requests of this key are under way`);
    }
    this.#tenants.set(tenant, held + 1);
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.delete(waiter);
        reject(new ServiceError('OVERLOADED', 'the request waited too long for its turn'));
      };
      const waiter: Waiter = {
        start: () => {
          signal.removeEventListener('abort', abort);
          resolve();
        },
      };
      if (signal.aborted) {
        abort();
        return;
      }
      this.#waiting.add(waiter);
      signal.addEventListener('abort', abort, { once: true });
    });
  }
}
