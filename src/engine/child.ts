import { forbidCoreDumps } from '../processes/coreDumps.ts';
import type { RunningModel } from './model.ts';
import { Outbox } from './outbox.ts';
import type { ChangeRequest, FromChild, LoadRequest, RunRequest, ToChild } from './protocol.ts';
import type { Scheduler } from './scheduler.ts';

/**
 * Entry of the process that runs the models. It ends with its parent, hears nobody else, and writes nothing: its
 * standard streams are closed.
 */
let scheduler: Scheduler | undefined;
// Its parent has warned where this fails.
forbidCoreDumps();
/** By the name that the parent gave. */
const models = new Map<string, RunningModel>();

const outbox = new Outbox<FromChild>((messages) => {
  // The channel is gone only when the parent is; `disconnect` then ends this process.
  if (process.connected) process.send?.([...messages]);
});

function send(message: FromChild): void {
  outbox.push(message);
}

/** The runtime is imported here, so that a machine without its libraries gets an answer and not an exit. */
async function load(request: LoadRequest): Promise<void> {
  try {
    const { loadModels } = await import('./loader.ts');
    const { Scheduler: Runs } = await import('./scheduler.ts');
    const { running, reply } = await loadModels(request);
    for (const [key, model] of running) models.set(key, model);
    scheduler = new Runs(models, request.tuning, send);
    send(reply);
  } catch (error) {
    send({
      kind: 'unavailable',
      message: error instanceof Error ? error.message : 'the runtime does not load',
    });
  }
}

/** Loads or frees one model; runs go on between the steps of a load. */
async function change(request: ChangeRequest): Promise<void> {
  const { id, key } = request;
  try {
    if (request.kind === 'load-model') {
      const { loadModels } = await import('./loader.ts');
      const { running, reply } = await loadModels(request.load);
      for (const model of running.values()) models.set(key, model);
      send({ kind: 'done', id, result: reply });
    } else {
      const model = models.get(key);
      models.delete(key);
      // The parent has waited for the calls of this model: no run uses the session any more.
      if (model) await scheduler?.release(model);
      send({ kind: 'done', id, result: undefined });
    }
  } catch {
    send({ kind: 'failed', id, code: 'ENGINE_FAILED', message: 'the runtime failed to change its models' });
  }
}

function receive(message: ToChild): void {
  if (message.kind === 'load') void load(message);
  else if (message.kind === 'cancel') scheduler?.cancel(message.id);
  else if (message.kind === 'load-model' || message.kind === 'unload-model') void change(message);
  else run(message);
}

function run(request: RunRequest): void {
  if (scheduler) scheduler.submit(request);
  else
    send({
      kind: 'failed',
      id: request.id,
      code: 'ENGINE_UNAVAILABLE',
      message: 'the models are not loaded',
    });
}

process.on('message', (messages) => {
  for (const message of messages as readonly ToChild[]) receive(message);
});
// A call that hangs in a driver would keep an ordinary exit waiting for ever.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
// A terminal's interrupt reaches the whole group: the parent decides when its engine ends.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
