import type { ServerResponse } from 'node:http';

/** How much of a stream may wait for its reader beyond the largest event so far (bytes). */
const MAX_UNREAD = 1024 * 1024;
/** Longest time for an answer to go out where no setting says another (ms). */
const DEFAULT_TIMEOUT_MS = 60_000;

/**
 * A response that waits for its reader within bounds: whoever sends a request and reads nothing would else have this
 * service keep the answer for ever.
 */
export class Outgoing {
  readonly response: ServerResponse;
  readonly #timeoutMs: number;
  readonly #giveUp: () => void;
  #largest = 0;

  /** `giveUp` is told at once when a reader is too slow, before the connection is closed. */
  constructor(
    response: ServerResponse,
    timeoutMs = DEFAULT_TIMEOUT_MS,
    giveUp: () => void = () => undefined,
  ) {
    this.response = response;
    this.#timeoutMs = timeoutMs;
    this.#giveUp = giveUp;
  }

  /** A part of a stream. The connection is closed where too much of it is not read. */
  write(bytes: Uint8Array): void {
    const { response } = this;
    this.#largest = Math.max(this.#largest, bytes.length);
    response.write(bytes);
    if (response.writableLength > MAX_UNREAD + this.#largest) this.#destroy();
  }

  /** Ends the answer. Nothing to wait for where the system took all of it at once, else until it did. */
  end(bytes?: Uint8Array): void | Promise<void> {
    const { response } = this;
    response.end(bytes);
    if (response.writableFinished || response.destroyed) return;
    return this.#finished();
  }

  #finished(): Promise<void> {
    const { response } = this;
    return new Promise((resolve) => {
      const settle = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#destroy();
        // It waited for others of its connection, and has no `close` of its own.
        if (!response.socket) settle();
      }, this.#timeoutMs);
      response.once('finish', settle);
      response.once('close', settle);
    });
  }

  #destroy(): void {
    this.#giveUp();
    this.response.destroy();
  }
}
