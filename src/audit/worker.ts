import { parentPort, workerData } from 'node:worker_threads';
import type { Task, WorkerSetup } from './tasks.ts';
import { Workplace } from './workplace.ts';

// Entry of a worker thread: one answer for each task, in order.
const workplace = new Workplace(workerData as WorkerSetup);
const port = parentPort;
let last: Promise<void> = Promise.resolve();

port?.on('message', (task: Task) => {
  // One after the other: bundles share buffers.
  last = last.then(async () => {
    port.postMessage(await workplace.run(task));
  });
  // What nobody foresaw ends the thread, which its owner is told.
  last.catch((error: unknown) => {
    throw error;
  });
});
