import { type CallOptions, EngineError, type GeneratedToken } from './engine.ts';
import type { FromChild, RunResult } from './protocol.ts';

interface Call {
  readonly resolve: (result: RunResult) => void;
  readonly reject: (error: Error) => void;
  readonly onToken: ((token: GeneratedToken) => void) | undefined;
  /** Stops the deadline and the listener. */
  readonly release: () => void;
}

/** Longest delay of a timer of Node. */
const MAX_DELAY_MS = 0x7fff_ffff;

/**
 * Requests between parent and child. A caller is answered at most once; the child owes an answer to each request that
 * it was sent, also to those whose caller has left.
 */
export class Calls {
  readonly #open = new Map<number, Call>();
  readonly #owed = new Set<number>();
  readonly #cancel: (id: number) => void;
  #next = 1;

  /** `cancel` tells the child that a caller has left. */
  constructor(cancel: (id: number) => void) {
    this.#cancel = cancel;
  }

  /** Answers that the child owes. */
  get owed(): number {
    return this.#owed.size;
  }

  /** Opens a call; `send` gets its id. */
  open(
    send: (id: number) => void,
    options: CallOptions,
    onToken?: (token: GeneratedToken) => void,
  ): Promise<RunResult> {
    const { signal, deadlineMs } = options;
    if (signal?.aborted) return Promise.reject(new EngineError('CANCELLED', 'the request was cancelled'));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#leave(id, new EngineError('CANCELLED', 'the request was cancelled'));
      };
      const late = (): void => {
        this.#leave(id, new EngineError('DEADLINE_EXCEEDED', `no answer within ${deadlineMs ?? 0} ms`));
      };
      const timer =
        deadlineMs === undefined ? undefined : setTimeout(late, Math.min(deadlineMs, MAX_DELAY_MS));
      signal?.addEventListener('abort', abort, { once: true });
      const release = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
      };
      this.#open.set(id, { resolve, reject, onToken, release });
      this.#owed.add(id);
      try {
        send(id);
      } catch {
        // What cannot be passed on, such as lists within thousands of lists, is owed no answer.
        this.#owed.delete(id);
        this.#close(id);
        reject(new EngineError('INVALID_INPUT', 'the request cannot be passed on to the engine'));
      }
    });
  }

  /** Hands an answer of the child to its caller. */
  answer(message: Extract<FromChild, { readonly id: number }>): void {
    this.#owed.delete(message.id);
    const call = this.#close(message.id);
    if (message.kind === 'done') call?.resolve(message.result);
    else call?.reject(new EngineError(message.code, message.message));
  }

  /** Hands a token to its listener; one that throws ends its own call only. */
  tell(id: number, token: GeneratedToken): void {
    try {
      this.#open.get(id)?.onToken?.(token);
    } catch (error) {
      this.#leave(id, error instanceof Error ? error : new Error('the listener failed'));
    }
  }

  /** Fails every call: the child is gone and owes nothing. */
  failAll(error: EngineError): void {
    this.#owed.clear();
    for (const id of [...this.#open.keys()]) this.#close(id)?.reject(error);
  }

  #leave(id: number, error: Error): void {
    const call = this.#close(id);
    if (!call) return;
    this.#cancel(id);
    call.reject(error);
  }

  #close(id: number): Call | undefined {
    const call = this.#open.get(id);
    this.#open.delete(id);
    call?.release();
    return call;
  }
}
