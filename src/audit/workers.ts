import { setImmediate } from 'node:timers/promises';
import { Worker, type Transferable } from 'node:worker_threads';
import { AuditError } from './errors.ts';
import type { InstanceSetup, Task, TaskResult, WorkerSetup } from './tasks.ts';
import { Workplace } from './workplace.ts';

/** Hands tasks to the threads that work. Results come in any order; the caller keeps few tasks in flight. */
export interface Workers {
  /** How many tasks keep all of them busy. */
  readonly width: number;
  run(task: Exclude<Task, InstanceSetup>): Promise<TaskResult>;
  /** The same in the thread of the caller. */
  runHere(task: Exclude<Task, InstanceSetup>): Promise<TaskResult>;
  /** Tells every one; resolves when all know. No other task may be in flight. */
  enter(setup: InstanceSetup): Promise<void>;
  close(): Promise<void>;
}

/** Tasks that a thread is given before it answered the first: it never waits for the next. */
const AHEAD = 3;

/**
 * `count` threads work: that of the caller, which has little else to do, and others, which run the compiled code. 0 is
 * as 1.
 */
export function startWorkers(setup: WorkerSetup, count: number): Workers {
  const others = Array.from({ length: Math.max(count - 1, 0) }, () => new Thread(setup));
  const own = new OwnThread(setup);
  // The caller's comes last: it is taken where none has less to do.
  const places: readonly Place[] = [...others, own];
  return {
    width: places.length * AHEAD,
    run: (task) =>
      places.reduce((idlest, place) => (place.waiting < idlest.waiting ? place : idlest)).run(task),
    runHere: (task) => own.run(task),
    enter: async (instance) => {
      await Promise.all(places.map((place) => place.run(instance)));
    },
    close: async () => {
      await Promise.all(others.map((thread) => thread.close()));
    },
  };
}

interface Place {
  /** Tasks that were not answered yet. */
  readonly waiting: number;
  run(task: Task): Promise<TaskResult>;
}

/** The thread of the caller: one task after the other, as in a worker, but for documents, which share no buffers. */
class OwnThread implements Place {
  readonly #workplace: Workplace;
  #last: Promise<unknown> = Promise.resolve();
  waiting = 0;

  constructor(setup: WorkerSetup) {
    this.#workplace = new Workplace(setup);
  }

  async run(task: Task): Promise<TaskResult> {
    this.waiting++;
    try {
      return await this.#take(task);
    } finally {
      this.waiting--;
    }
  }

  #take(task: Task): Promise<TaskResult> {
    if (task.kind === 'document') return this.#workplace.run(task);
    const result = this.#last.then(async () => {
      // Answers of other threads come in between: they are given their next task before this one begins.
      await setImmediate();
      return this.#workplace.run(task);
    });
    this.#last = result.catch(() => undefined);
    return result;
  }
}

const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/src/audit/worker.js' : './worker.js',
  import.meta.url,
);

interface Waiter {
  readonly resolve: (result: TaskResult) => void;
  readonly reject: (error: unknown) => void;
}

/** One worker thread, which answers in the order of its tasks. */
class Thread implements Place {
  readonly #worker: Worker;
  readonly #waiters: Waiter[] = [];
  #failure: AuditError | undefined;

  constructor(setup: WorkerSetup) {
    this.#worker = new Worker(ENTRY, { workerData: setup });
    this.#worker.on('message', (result: TaskResult) => this.#waiters.shift()?.resolve(result));
    this.#worker.on('error', (error) => {
      this.#fail(
        new AuditError('AUDIT_WORKER_FAILED', error instanceof Error ? error.message : 'it threw', error),
      );
    });
    this.#worker.on('exit', () => {
      this.#fail(new AuditError('AUDIT_WORKER_FAILED', 'a worker ended before its work'));
    });
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  run(task: Task): Promise<TaskResult> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#worker.postMessage(task, transferOf(task));
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(error: AuditError): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiters.splice(0)) reject(error);
  }
}

/** The bytes of a bundle are moved, not copied, where they have a buffer of their own. */
function transferOf(task: Task): Transferable[] {
  if (task.kind !== 'bundles') return [];
  return task.bundles.flatMap(({ file }) =>
    file instanceof Uint8Array &&
    file.buffer instanceof ArrayBuffer &&
    file.buffer.byteLength === file.byteLength
      ? [file.buffer]
      : [],
  );
}
