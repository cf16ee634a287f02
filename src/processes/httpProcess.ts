import cluster, { type Worker } from 'node:cluster';
import { setTimeout as delay } from 'node:timers/promises';
import type { Begin, SignerState } from './calls.ts';
import { Channel, type ChannelHandlers } from './channel.ts';
import { portOf } from './port.ts';
import { SECRET_VARIABLES } from './secrets.ts';

/** What it may take beyond the time of a stop: requests that were ended still get their answers. */
const GRACE_MS = 15_000;

export interface HttpProcessEvents {
  readonly desk: ChannelHandlers;
  /** Called once, whatever ended the process. */
  readonly onEnd: (code: number | null, signal: string | null) => void;
}

/** One process that serves HTTP, as the signing process sees it. */
export class HttpProcess {
  readonly #worker: Worker;
  readonly #channel: Channel;
  readonly #gone: Promise<void>;
  readonly #ready: Promise<void>;
  #serves = false;

  constructor({ desk, onEnd }: HttpProcessEvents) {
    this.#worker = cluster.fork(Object.fromEntries(SECRET_VARIABLES.map((name) => [name, undefined])));
    let onReady: () => void = () => undefined;
    this.#ready = new Promise((resolve) => (onReady = resolve));
    this.#channel = new Channel(portOf(this.#worker), {
      calls: desk.calls,
      told: (name, value) => {
        if (name === 'ready') onReady();
        else desk.told(name, value);
      },
    });
    this.#gone = new Promise((resolve) => {
      this.#worker.once('exit', (code, signal) => {
        resolve();
        onEnd(code, signal);
      });
    });
  }

  /** Has it serve; resolves when it listens. Before it has loaded it hears nothing. */
  async begin(begin: Begin): Promise<void> {
    await Promise.race([this.#ready, this.#gone]);
    await this.#channel.call('begin', begin);
    this.#serves = true;
  }

  tell(state: SignerState): void {
    if (this.#serves) this.#channel.tell('state', state);
  }

  /** Lets it finish what it answers, then ends it. One that hangs keeps nobody from the final evidence. */
  async stop(timeoutMs: number): Promise<void> {
    if (this.#serves) {
      const drained = this.#channel.call('drain', timeoutMs).catch(() => undefined);
      await Promise.race([drained, delay(timeoutMs + GRACE_MS, undefined, { ref: false })]);
    }
    this.#worker.process.kill('SIGKILL');
    await this.#gone;
  }
}
