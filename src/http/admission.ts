import { ServiceError } from './errors.ts';

interface Waiter {
  readonly start: () => void;
}

/**
 * Bounds what is under way: so many requests are worked on, so many more wait or are being read. A place is taken
 * before the body is read, which bounds the memory that bodies take.
 */
export class Admission {
  readonly #concurrency: number;
  readonly #places: number;
  readonly #waiting = new Set<Waiter>();
  #inside = 0;
  #running = 0;
  #closed = false;

  constructor(concurrency: number, queue: number) {
    this.#concurrency = concurrency;
    this.#places = concurrency + queue;
  }

  /** Requests that have a place. */
  get inside(): number {
    return this.#inside;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Takes a place, or throws `OVERLOADED`. Give it back with `leave`. */
  enter(): void {
    if (this.#closed) throw new ServiceError('STOPPING', 'the service is stopping');
    if (this.#inside >= this.#places) {
      throw new ServiceError('OVERLOADED', `${this.#places} requests are under way`);
    }
    this.#inside++;
  }

  leave(): void {
    this.#inside--;
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
