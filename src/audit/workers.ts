import { Worker, type Transferable } from 'node:worker_threads';
import { AuditError } from './errors.ts';
import type { InstanceSetup, Task, TaskResult, WorkerSetup } from './tasks.ts';
import { Workplace } from './workplace.ts';

/** Hands tasks to workers. Results come in any order; the caller keeps few tasks in flight. */
export interface Workers {
  /** How many tasks keep all workers busy. */
  readonly width: number;
  run(task: Exclude<Task, InstanceSetup>): Promise<TaskResult>;
  /** Tells every worker; resolves when all know. No other task may be in flight. */
  enter(setup: InstanceSetup): Promise<void>;
  close(): Promise<void>;
}

/** Compiled code runs in threads; `count` 0 does everything in the thread of the caller. */
export function startWorkers(setup: WorkerSetup, count: number): Workers {
  return count === 0 ? inThisThread(setup) : inThreads(setup, count);
}

function inThisThread(setup: WorkerSetup): Workers {
  const workplace = new Workplace(setup);
  // One after the other, as in a worker.
  let last: Promise<unknown> = Promise.resolve();
  const run = (task: Task): Promise<TaskResult> => {
    const result = last.then(() => workplace.run(task));
    last = result.catch(() => undefined);
    return result;
  };
  return {
    width: 1,
    run,
    enter: async (instance) => {
      await run(instance);
    },
    close: () => Promise.resolve(),
  };
}

/** Tasks that a worker is given before it answered the first: it never waits for the next. */
const AHEAD = 2;

const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/src/audit/worker.js' : './worker.js',
  import.meta.url,
);

function inThreads(setup: WorkerSetup, count: number): Workers {
  const threads = Array.from({ length: count }, () => new Thread(setup));
  return {
    width: count * AHEAD,
    run(task) {
      const [idlest] = threads.toSorted((a, b) => a.waiting - b.waiting);
      if (!idlest) throw new AuditError('AUDIT_WORKER_FAILED', 'there is no worker');
      return idlest.run(task);
    },
    enter: async (instance) => {
      await Promise.all(threads.map((thread) => thread.run(instance)));
    },
    close: async () => {
      await Promise.all(threads.map((thread) => thread.close()));
    },
  };
}

interface Waiter {
  readonly resolve: (result: TaskResult) => void;
  readonly reject: (error: unknown) => void;
}

/** One worker thread, which answers in the order of its tasks. */
class Thread {
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
  return task.bundles.flatMap(({ bytes: { buffer, byteLength } }) =>
    buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : [],
  );
}
