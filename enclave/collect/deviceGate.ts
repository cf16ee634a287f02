import { CollectError } from './errors.ts';
import { waitAtMost } from './patience.ts';

/** The end of a request, as its steps see it. */
export interface Deadline {
  /** Aborted when nobody waits for the outcome any more: start nothing new, clean up. */
  readonly signal: AbortSignal;
  remainingMs(): number;
  /** The device has answered that it can be asked again: what the request fails with if its time ends before it succeeds. */
  retryingAfter(answer: CollectError): void;
}

/**
 * Lets one request at a time to a device. Node cannot call back a read that is with the kernel: a request that outlives
 * its deadline fails there and then, and the device stays busy until the request has come back and cleaned up.
 */
export class DeviceGate {
  readonly #what: string;
  #running: Promise<void> | undefined;
  #stop: (() => void) | undefined;

  /** `what` names the device in errors. */
  constructor(what: string) {
    this.#what = what;
  }

  async run<T>(deadlineMs: number, request: (deadline: Deadline) => Promise<T>): Promise<T> {
    if (this.#running) {
      throw new CollectError('DEVICE_BUSY', `an earlier request to ${this.#what} has not come back yet`);
    }
    const abandoned = new AbortController();
    const end = performance.now() + deadlineMs;
    let answered: CollectError | undefined;
    const work = request({
      signal: abandoned.signal,
      remainingMs: () => Math.max(0, end - performance.now()),
      retryingAfter: (answer) => (answered = answer),
    });
    const finished = () => (this.#running = undefined);
    this.#running = work.then(finished, finished);
    let timer: NodeJS.Timeout | undefined;
    const givenUp = new Promise<never>((_resolve, reject) => {
      const giveUp = (error: CollectError) => {
        reject(error);
        abandoned.abort();
      };
      const late = `${this.#what} did not answer within ${deadlineMs} ms`;
      timer = setTimeout(() => giveUp(answered ?? new CollectError('DEVICE_TIMEOUT', late)), deadlineMs);
      this.#stop = () => giveUp(new CollectError('STOPPED', `${this.#what} was closed during a request`));
    });
    try {
      return await Promise.race([work, givenUp]);
    } finally {
      clearTimeout(timer);
      this.#stop = undefined;
    }
  }

  /** Gives up on a request in flight, and waits for it to clean up, but not for ever. */
  async stop(patienceMs: number): Promise<void> {
    this.#stop?.();
    if (this.#running) await waitAtMost(patienceMs, this.#running);
  }
}
