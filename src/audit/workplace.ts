import { BundleWork } from './bundleWork.ts';
import { DocumentWork } from './documentWork.ts';
import type { BundleFacts, Task, TaskResult, WorkerSetup } from './tasks.ts';

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
      case 'bundles': {
        const facts: BundleFacts[] = [];
        for (const bundle of task.bundles) facts.push(await this.#bundles.run(bundle));
        return { kind: 'bundles', facts };
      }
      case 'document':
        return this.#documents.run(task);
    }
  }
}
