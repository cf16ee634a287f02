import { setTimeout as sleep } from 'node:timers/promises';
import { CollectError } from '../errors.ts';

/** The point in time at which one collection stops waiting. */
export class Deadline {
  readonly #end: number;

  constructor(milliseconds: number) {
    this.#end = performance.now() + milliseconds;
  }

  /** Milliseconds that are left; 0 once it has passed. */
  get remaining(): number {
    return Math.max(0, this.#end - performance.now());
  }

  /** The outcome of the step, or `DEVICE_TIMEOUT`: the step itself goes on, whatever it does. */
  async wait<T>(step: Promise<T>, what: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const passed = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new CollectError('DEVICE_TIMEOUT', `${what} did not end in time`));
      }, this.remaining);
    });
    try {
      return await Promise.race([step, passed]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Pauses, at most until the deadline. False where it has passed. */
  async pause(milliseconds: number): Promise<boolean> {
    await sleep(Math.min(milliseconds, this.remaining));
    return this.remaining > 0;
  }
}
