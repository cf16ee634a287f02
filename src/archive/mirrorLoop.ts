import { setTimeout as delay } from 'node:timers/promises';

/** Pause between two passes, milliseconds. */
const PERIOD_MS = 1000;

/**
 * Repeats a pass until it is stopped. A pass that fails is named and tried again with the next one: a database that is
 * stopped for an hour costs an hour's delay, no entry.
 */
export class MirrorLoop {
  readonly #pass: () => Promise<void>;
  readonly #onFailure: (error: unknown) => void;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #loop: Promise<void> | undefined;
  #failure: unknown;

  constructor(pass: () => Promise<void>, onFailure: (error: unknown) => void) {
    this.#pass = pass;
    this.#onFailure = onFailure;
  }

  /** What the last pass threw; undefined after a good one. */
  get failure(): unknown {
    return this.#failure;
  }

  start(): void {
    this.#loop ??= this.#repeat();
  }

  /** One pass now, after the one that runs. Throws what it throws. */
  async once(): Promise<void> {
    const run = this.#running.then(async () => {
      try {
        await this.#pass();
        this.#failure = undefined;
      } catch (error) {
        // One line for each outage, not for each attempt.
        if (this.#failure === undefined) this.#onFailure(error);
        this.#failure = error;
        throw error;
      }
    });
    this.#running = run.catch(() => undefined);
    return run;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await this.#running;
  }

  async #repeat(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.once().catch(() => undefined);
      await delay(PERIOD_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}
