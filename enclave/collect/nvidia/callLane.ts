import { CollectError } from '../errors.ts';

/**
 * Calls of a library, one at a time. A native call cannot be stopped: one that outlives its deadline stays out, and
 * until it returns every other call is refused as `DEVICE_BUSY` instead of piling up on a device that hangs.
 */
export class CallLane {
  #last: Promise<unknown> = Promise.resolve();
  /** The call that outlived its deadline and is still out. */
  #overdue: string | undefined;

  /** `deadline` counts in milliseconds from when the call is made. */
  run<T>(what: string, deadline: number, call: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#perform(what, deadline, call));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #perform<T>(what: string, deadline: number, call: () => Promise<T>): Promise<T> {
    if (this.#overdue !== undefined) {
      throw new CollectError('DEVICE_BUSY', `${this.#overdue} has not returned yet, so ${what} has to wait`);
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#overdue = what;
        reject(new CollectError('DEVICE_TIMEOUT', `${what} did not return within ${deadline} ms`));
      }, deadline);
    });
    const work = Promise.resolve()
      .then(call)
      .finally(() => {
        clearTimeout(timer);
        this.#overdue = undefined;
      });
    return Promise.race([work, late]);
  }
}
