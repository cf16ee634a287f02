import { Outbox } from '../engine/outbox.ts';
import { fromWire, toWire, type WireError } from './wireError.ts';

/** Whether a call is still wanted, and where what happens meanwhile is told. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: unknown) => void) | undefined;
}

type Frame =
  | { readonly kind: 'call'; readonly id: number; readonly name: string; readonly input: unknown }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'event'; readonly id: number; readonly event: unknown }
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly error: WireError }
  /** What nobody answers. */
  | { readonly kind: 'tell'; readonly name: string; readonly value: unknown };

/** The channel between two processes, as Node gives it to both. */
export interface Port {
  send(frames: readonly unknown[]): void;
  onFrames(listener: (frames: readonly unknown[]) => void): void;
  onEnd(listener: () => void): void;
}

/** Answers a call; `signal` says when it is not wanted any more. */
export type Handler = (
  input: unknown,
  signal: AbortSignal,
  tell: (event: unknown) => void,
) => Promise<unknown>;

export interface ChannelHandlers {
  /** By the name of the call; there are no others. */
  readonly calls: Readonly<Record<string, Handler>>;
  readonly told: (name: string, value: unknown) => void;
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onEvent: ((event: unknown) => void) | undefined;
}

/**
 * Calls between two processes of one service, both ways; frames of one turn of the event loop travel together. Both
 * ends are this code in one VM: frames are not checked.
 */
export class Channel {
  readonly #port: Port;
  readonly #handlers: ChannelHandlers;
  readonly #outbox: Outbox<Frame>;
  readonly #pending = new Map<number, Pending>();
  readonly #answering = new Map<number, AbortController>();
  #count = 0;
  #ended = false;

  constructor(port: Port, handlers: ChannelHandlers) {
    this.#port = port;
    this.#handlers = handlers;
    this.#outbox = new Outbox((frames) => {
      if (!this.#ended) this.#port.send(frames);
    });
    port.onFrames((frames) => {
      for (const frame of frames as readonly Frame[]) this.#take(frame);
    });
    port.onEnd(() => {
      this.#end();
    });
  }

  /** Has the other process do something. An abort ends the work there; the call then rejects as that says. */
  call(name: string, input: unknown, { signal, onEvent }: CallOptions = {}): Promise<unknown> {
    if (this.#ended) return Promise.reject(new Error('the other process is gone'));
    const id = this.#count++;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onEvent });
    });
    this.#outbox.push({ kind: 'call', id, name, input });
    if (!signal) return answer;
    const cancel = (): void => {
      this.#outbox.push({ kind: 'cancel', id });
    };
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel, { once: true });
    return answer.finally(() => {
      signal.removeEventListener('abort', cancel);
    });
  }

  tell(name: string, value: unknown): void {
    this.#outbox.push({ kind: 'tell', name, value });
  }

  #take(frame: Frame): void {
    switch (frame.kind) {
      case 'call':
        void this.#answer(frame.id, frame.name, frame.input);
        break;
      case 'cancel':
        this.#answering.get(frame.id)?.abort();
        break;
      case 'event':
        this.#pending.get(frame.id)?.onEvent?.(frame.event);
        break;
      case 'result':
        this.#settle(frame.id)?.resolve(frame.value);
        break;
      case 'error':
        this.#settle(frame.id)?.reject(fromWire(frame.error));
        break;
      case 'tell':
        this.#handlers.told(frame.name, frame.value);
    }
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  async #answer(id: number, name: string, input: unknown): Promise<void> {
    const controller = new AbortController();
    this.#answering.set(id, controller);
    try {
      const handler = this.#handlers.calls[name];
      if (!handler) throw new Error(`no call is named ${name}`);
      const value = await handler(input, controller.signal, (event) => {
        this.#outbox.push({ kind: 'event', id, event });
      });
      this.#outbox.push({ kind: 'result', id, value });
    } catch (error) {
      this.#outbox.push({ kind: 'error', id, error: toWire(error) });
    } finally {
      this.#answering.delete(id);
    }
  }

  /** Whoever waits hears of it, and nobody is left to work for. */
  #end(): void {
    this.#ended = true;
    for (const { reject } of this.#pending.values()) reject(new Error('the other process is gone'));
    this.#pending.clear();
    for (const controller of this.#answering.values()) controller.abort();
  }
}
