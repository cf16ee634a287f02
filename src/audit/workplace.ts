import { BundleWork } from './bundleWork.ts';
import { DocumentWork } from './documentWork.ts';
import type { Task, TaskResult, WorkerSetup } from './tasks.ts';

/** Does the tasks of an audit: in a worker thread, or in the thread of the caller. */
export class Workplace {
  readonly #bundles: BundleWork;
  readonly #documents: DocumentWork;

  constructor(setup: WorkerSetup) {
    this.#bundles = new BundleWork(setup.watchedManifests);
    this.#documents = new DocumentWork(setup);
  }

  async run(task: Task): Promise<TaskResult> {
    switch (task.kind) {
      case 'instance':
        this.#bundles.enter(task);
        return { kind: 'instance' };
      case 'bundle':
        return this.#bundles.run(task);
      case 'document':
        return this.#documents.run(task);
    }
  }
}
