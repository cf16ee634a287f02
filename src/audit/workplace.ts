import { BundleWork } from './bundleWork.ts';
import type { DocumentWork } from './documentWork.ts';
import type { BundleFacts, Task, TaskResult, WorkerSetup } from './tasks.ts';

/** Does the tasks of an audit: in a worker thread, or in the thread of the caller. */
export class Workplace {
  readonly #setup: WorkerSetup;
  readonly #bundles: BundleWork;
  #documents: Promise<DocumentWork> | undefined;

  constructor(setup: WorkerSetup) {
    this.#setup = setup;
    this.#bundles = new BundleWork(setup.watchedManifests);
  }

  /** Bundles share buffers: their task has to be over before the next one begins. */
  async run(task: Task): Promise<TaskResult> {
    switch (task.kind) {
      case 'instance':
        this.#bundles.enter(task);
        return { kind: 'instance' };
      case 'bundles': {
        const facts: (BundleFacts | undefined)[] = [];
        for (const bundle of task.bundles) facts.push(await this.#bundles.run(bundle));
        return { kind: 'bundles', facts };
      }
      case 'document':
        this.#documents ??= loadDocumentWork(this.#setup);
        return (await this.#documents).run(task);
    }
  }
}

/** The appraisal is four fifths of the modules: a thread that only reads bundles starts without it. */
async function loadDocumentWork(setup: WorkerSetup): Promise<DocumentWork> {
  const { DocumentWork } = await import('./documentWork.ts');
  return new DocumentWork(setup);
}
