import { ModelError } from '../models/errors.ts';
import type { ModelSource } from '../models/store.ts';
import { Calls } from './calls.ts';
import {
  type CallOptions,
  type Embeddings,
  type Engine,
  EngineError,
  type EngineHealth,
  type GeneratedToken,
  type GenerateOptions,
  type Generation,
  type InferOptions,
  type LoadedModel,
  type ModelChange,
  type RefusedModel,
  type Task,
  type Tensor,
  type Text,
} from './engine.ts';
import { loadRequest } from './loadRequest.ts';
import { refusedAfterRestart, requireLoaded } from './identity.ts';
import { type Entry, ModelTable } from './modelTable.ts';
import type { EngineEvent, EngineOptions } from './options.ts';
import { EngineProcess } from './process.ts';
import type { FromChild, InferResult, LoadedReply, RunPayload, RunResult, ToChild } from './protocol.ts';
import { embedPayload, generatePayload } from './payloads.ts';
import { requireInputs } from './tensors.ts';

const MAX_PENDING = 1024;
const STALL_MS = 120_000;
const LOAD_MS = 600_000;
const BACKOFF = { firstMs: 200, capMs: 30_000 };
/** A process that lived this long did not die of its start: the next delay is the first again. */
const STABLE_MS = 60_000;

/**
 * Starts the engine process and loads the models. Throws `ModelError` when one is refused, `EngineError` when the
 * process does not start. Afterwards the process is restarted whenever it dies.
 */
export async function startEngine(options: EngineOptions): Promise<Engine> {
  const host = new EngineHost(options);
  try {
    await host.start();
  } catch (error) {
    await host.close();
    throw error;
  }
  return host;
}

class EngineHost implements Engine {
  readonly #options: EngineOptions;
  readonly #calls: Calls;
  readonly #table = new ModelTable();
  #process: EngineProcess | undefined;
  #state: EngineHealth['state'] = 'starting';
  #refused: readonly RefusedModel[] = [];
  #restarts = 0;
  #failuresInRow = 0;
  #readySince = 0;
  #lastFailure: string | undefined;
  /** Messages of the process so far. */
  #heard = 0;
  /** Kills a process that neither loads nor answers. */
  #watchdog: NodeJS.Timeout | undefined;
  #restart: NodeJS.Timeout | undefined;
  /** Settles the first start. */
  #started: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#calls = new Calls((id) => this.#process?.send({ kind: 'cancel', id }));
  }

  get models(): ReadonlyMap<string, LoadedModel> {
    return this.#table.models;
  }

  get changing(): ReadonlyMap<string, ModelChange> {
    return this.#table.changing;
  }

  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
      this.#spawn();
    });
  }

  health(): EngineHealth {
    return {
      state: this.#state,
      restarts: this.#restarts,
      lastFailure: this.#lastFailure,
      pid: this.#process?.pid,
      pending: this.#calls.owed,
      refused: this.#refused,
    };
  }

  async infer(
    model: string,
    inputs: readonly Tensor[],
    options: InferOptions = {},
  ): Promise<readonly Tensor[]> {
    requireInputs(this.#require(model, 'infer'), inputs);
    const { outputs, rows } = (await this.#call({ kind: 'infer', model, inputs }, options)) as InferResult;
    if (rows !== undefined) options.onRows?.(rows);
    return outputs;
  }

  async embed(model: string, texts: readonly Text[], options: CallOptions = {}): Promise<Embeddings> {
    this.#require(model, 'embed');
    return (await this.#call(embedPayload(model, texts), options)) as Embeddings;
  }

  async generate(
    model: string,
    prompt: Text,
    options: GenerateOptions,
    onToken: (token: GeneratedToken) => void,
  ): Promise<Generation> {
    this.#require(model, 'generate');
    return (await this.#call(generatePayload(model, prompt, options), options, onToken)) as Generation;
  }

  async load(source: ModelSource): Promise<LoadedModel> {
    this.#requireReady();
    this.#table.begin(source.id, 'LOADING');
    try {
      const load = await loadRequest([source], this.#options);
      this.#requireReady();
      const key = this.#table.nextKey(source.id);
      const reply = await this.#calls.open((id) => {
        this.#send({ kind: 'load-model', id, key, load });
      }, {});
      const model = requireLoaded(reply as LoadedReply);
      this.#forgetRefusal(source.id);
      const former = this.#table.put(source, model, key);
      if (former) void this.#free(former).catch(() => undefined);
      return model;
    } finally {
      this.#table.end(source.id);
    }
  }

  async unload(id: string): Promise<void> {
    this.#requireReady();
    if (!this.#table.models.has(id)) throw new EngineError('UNKNOWN_MODEL', 'no such model');
    this.#table.begin(id, 'UNLOADING');
    try {
      const entry = this.#table.take(id);
      this.#forgetRefusal(id);
      if (entry) await this.#free(entry);
    } finally {
      this.#table.end(id);
    }
  }

  async close(): Promise<void> {
    this.#state = 'stopped';
    clearTimeout(this.#restart);
    clearTimeout(this.#watchdog);
    this.#calls.failAll(new EngineError('ENGINE_UNAVAILABLE', 'the engine was stopped'));
    await this.#process?.close();
    this.#process = undefined;
  }

  /** Frees a model in the process that has it, once its calls have ended; what ended with its process is free. */
  async #free({ key }: Entry): Promise<void> {
    const owner = this.#process;
    await this.#table.drained(key);
    if (this.#process !== owner || this.#state !== 'ready') return;
    const freed = this.#calls.open((id) => {
      this.#send({ kind: 'unload-model', id, key });
    }, {});
    await freed.catch((error: unknown) => {
      if (this.#process === owner) throw error;
    });
  }

  #forgetRefusal(id: string): void {
    this.#refused = this.#refused.filter(({ model }) => model !== id);
  }

  #requireReady(): void {
    if (this.#state !== 'ready') throw new EngineError('ENGINE_UNAVAILABLE', `the engine is ${this.#state}`);
  }

  #require(id: string, task: Task): LoadedModel {
    this.#requireReady();
    const model = this.#table.models.get(id);
    if (!model) throw new EngineError('UNKNOWN_MODEL', 'no such model');
    const refused = this.#refused.find((candidate) => candidate.model === id);
    if (refused) throw new EngineError('MODEL_REFUSED', `${refused.code}: ${refused.message}`);
    if (!model.tasks.includes(task)) {
      const why = task === 'generate' && model.lacks !== undefined ? `: ${model.lacks}` : '';
      throw new EngineError('UNSUPPORTED_TASK', `model ${id} does not ${task}${why}`);
    }
    return model;
  }

  #call(
    payload: RunPayload,
    options: CallOptions,
    onToken?: (token: GeneratedToken) => void,
  ): Promise<RunResult> {
    const limit = this.#options.maxPending ?? MAX_PENDING;
    if (this.#calls.owed >= limit) throw new EngineError('QUEUE_FULL', `${limit} requests are waiting`);
    const key = this.#table.keyOf(payload.model);
    const send = (id: number): void => {
      this.#send({ ...payload, model: key, scope: options.scope ?? '', id });
    };
    return this.#table.during(key, this.#calls.open(send, options, onToken));
  }

  #send(message: ToChild): void {
    if (this.#calls.owed === 1 || this.#table.isLoading) this.#watch(this.#patience());
    this.#process?.send(message);
  }

  /** How long a busy process may be silent: a load takes its thread for as long as it needs. */
  #patience(): number {
    const { stallMs = STALL_MS, loadMs = LOAD_MS } = this.#options;
    return this.#table.isLoading ? Math.max(stallMs, loadMs) : stallMs;
  }

  #spawn(): void {
    const { childEntry, loadMs = LOAD_MS } = this.#options;
    this.#table.resetKeys();
    const started = new EngineProcess(childEntry, {
      onMessage: (message) => {
        // What a dead process still had in its channel is no answer of its successor.
        if (this.#process === started) this.#receive(message);
      },
      onEnd: (reason) => {
        this.#ended(reason);
      },
    });
    this.#process = started;
    this.#watch(loadMs);
    const models = this.#started ? this.#options.models : this.#table.sources;
    void loadRequest(models, this.#options).then((load) => {
      started.send(load);
    });
  }

  /** (Re)arms the watchdog: each sign of life gives the process the same time again. */
  #watch(limitMs: number): void {
    clearTimeout(this.#watchdog);
    const watched = this.#process;
    const heard = this.#heard;
    // Answers that lie unread because this process was busy are read before the verdict.
    const judge = (): void => {
      if (this.#heard === heard) watched?.kill(`gave no answer for ${limitMs} ms`);
    };
    this.#watchdog = setTimeout(() => setImmediate(judge), limitMs);
    this.#watchdog.unref();
  }

  #receive(message: FromChild): void {
    this.#heard += 1;
    if (message.kind === 'loaded') this.#loaded(message);
    else if (message.kind === 'unavailable') this.#process?.kill(message.message);
    else {
      if (message.kind === 'tokens') for (const { id, token } of message.tokens) this.#calls.tell(id, token);
      else this.#calls.answer(message);
      if (this.#calls.owed > 0) this.#watch(this.#patience());
      else clearTimeout(this.#watchdog);
    }
  }

  #loaded(reply: LoadedReply): void {
    clearTimeout(this.#watchdog);
    if (this.#state === 'stopped') return;
    if (this.#started) {
      const [failure] = reply.failures;
      if (failure) {
        this.#started.reject(new ModelError(failure.code, failure.model, failure.file, failure.detail));
        return;
      }
      for (const source of this.#options.models) {
        const model = reply.models.find(({ id }) => id === source.id);
        if (model) this.#table.put(source, model, source.id);
      }
    } else {
      this.#refused = refusedAfterRestart(this.#table.models, reply);
    }
    this.#state = 'ready';
    this.#readySince = Date.now();
    if (reply.fallback !== undefined) this.#emit({ kind: 'fallback', detail: reply.fallback });
    for (const refused of this.#refused) this.#emit({ kind: 'refused', refused });
    this.#emit({ kind: 'ready', pid: this.#process?.pid, restarts: this.#restarts });
    this.#started?.resolve();
    this.#started = undefined;
  }

  #ended(reason: string): void {
    clearTimeout(this.#watchdog);
    if (this.#state === 'stopped') return;
    this.#process = undefined;
    const error = new EngineError('ENGINE_UNAVAILABLE', `the engine process ended: ${reason}`);
    this.#calls.failAll(error);
    if (this.#started) {
      this.#started.reject(error);
      return;
    }
    this.#lastFailure = reason;
    this.#scheduleRestart(reason);
  }

  #scheduleRestart(reason: string): void {
    const stable = this.#state === 'ready' && Date.now() - this.#readySince >= STABLE_MS;
    this.#failuresInRow = stable ? 1 : this.#failuresInRow + 1;
    this.#state = 'restarting';
    const { firstMs, capMs } = this.#options.backoff ?? BACKOFF;
    const retryInMs = Math.min(capMs, firstMs * 2 ** Math.min(this.#failuresInRow - 1, 30));
    this.#emit({ kind: 'died', reason, retryInMs });
    this.#restart = setTimeout(() => {
      this.#restarts += 1;
      this.#spawn();
    }, retryInMs);
  }

  #emit(event: EngineEvent): void {
    this.#options.onEvent?.(event);
  }
}
