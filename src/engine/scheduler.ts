import { batchSize, embedRows } from './embedding.ts';
import { EngineError, type EngineErrorCode } from './engine.ts';
import { GenerationRun } from './generation.ts';
import { infer } from './inference.ts';
import type { RunningModel } from './model.ts';
import type { FromChild, RunRequest, RunResult } from './protocol.ts';

/** Generations that advance side by side, each with a KV cache in memory; later ones wait. */
const MAX_GENERATIONS = 16;

interface InferJob {
  readonly kind: 'infer';
  readonly id: number;
  readonly model: RunningModel;
  readonly request: Extract<RunRequest, { kind: 'infer' }>;
}

interface EmbedJob {
  readonly kind: 'embed';
  readonly id: number;
  readonly model: RunningModel;
  readonly rows: readonly (readonly number[])[];
  /** Rows that a run has taken. */
  taken: number;
  readonly vectors: Float32Array[];
}

interface GenerateJob {
  readonly kind: 'generate';
  readonly id: number;
  readonly run: GenerationRun;
}

/** One text of a request. */
interface Row {
  readonly job: EmbedJob;
  readonly ids: readonly number[];
}

type Job = InferJob | EmbedJob | GenerateJob;

/**
 * Decides what the process runs next. A run cannot be interrupted, so fairness lies between runs: one inference or
 * batch of embeddings, then one token of one generation, and so on. Texts that wait for the same model while a run
 * is under way share the next one.
 */
export class Scheduler {
  readonly #models: ReadonlyMap<string, RunningModel>;
  readonly #send: (message: FromChild) => void;
  /** Requests without an answer; what is not here any more was cancelled. */
  readonly #open = new Set<number>();
  #waiting: (InferJob | EmbedJob)[] = [];
  #generating: GenerateJob[] = [];
  #running = false;

  constructor(models: ReadonlyMap<string, RunningModel>, send: (message: FromChild) => void) {
    this.#models = models;
    this.#send = send;
  }

  submit(request: RunRequest): void {
    this.#open.add(request.id);
    try {
      const job = this.#toJob(request);
      if (job.kind === 'generate') this.#generating.push(job);
      else this.#waiting.push(job);
    } catch (error) {
      this.#fail(request.id, error);
    }
    if (!this.#running) void this.#work();
  }

  /** Drops a request; a run that is under way ends unheard. */
  cancel(id: number): void {
    this.#waiting = this.#waiting.filter((job) => job.id !== id);
    this.#generating = this.#generating.filter((job) => job.id !== id);
    this.#fail(id, new EngineError('CANCELLED', 'the request was cancelled'));
  }

  #toJob(request: RunRequest): Job {
    const { id } = request;
    const model = this.#models.get(request.model);
    if (!model) throw new EngineError('UNKNOWN_MODEL', 'no such model');
    if (request.kind === 'infer') return { kind: 'infer', id, model, request };
    const { tokenizer, generation: plan, session } = model;
    if (!tokenizer) throw new EngineError('UNSUPPORTED_TASK', 'the model has no tokenizer');
    if (request.kind === 'embed') {
      const rows = request.texts.map((text, i) => tokenizer.encode(text, true, `text ${i}`));
      return { kind: 'embed', id, model, rows, taken: 0, vectors: [] };
    }
    if (!plan) throw new EngineError('UNSUPPORTED_TASK', 'the model does not generate');
    const prompt = tokenizer.encode(request.prompt, !request.templated, 'the prompt');
    if (prompt.length >= tokenizer.maxTokens) {
      throw new EngineError(
        'INVALID_INPUT',
        `the prompt fills all ${tokenizer.maxTokens} tokens of the context`,
      );
    }
    return { kind: 'generate', id, run: new GenerationRun({ session, plan, tokenizer }, prompt, request) };
  }

  async #work(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length + this.#generating.length > 0) {
      // Messages that came in during the last run are read here, so that they can share the next.
      await new Promise((resolve) => setImmediate(resolve));
      const [next] = this.#waiting;
      if (next?.kind === 'infer') await this.#infer(next);
      else if (next) await this.#embed(next.model);
      await this.#advance();
    }
    this.#running = false;
  }

  async #infer(job: InferJob): Promise<void> {
    this.#waiting = this.#waiting.filter((other) => other !== job);
    try {
      const { session, loaded } = job.model;
      this.#finish(job.id, await infer(session, loaded.outputs, job.request.inputs));
    } catch (error) {
      this.#fail(job.id, error);
    }
  }

  /** One run over the first rows that wait for this model, whoever sent them. */
  async #embed(model: RunningModel): Promise<void> {
    const jobs = this.#waiting.filter((job) => job.kind === 'embed').filter((job) => job.model === model);
    const rows: Row[] = jobs.flatMap((job) => job.rows.slice(job.taken).map((ids) => ({ job, ids })));
    const batch = rows.slice(0, batchSize(rows.map((row) => row.ids)));
    for (const { job } of batch) job.taken += 1;
    // A row that makes its batch fail may fail only its own request: each is then run alone.
    if (!(await this.#embedBatch(model, batch, batch.length === 1))) {
      for (const row of batch) await this.#embedBatch(model, [row], true);
    }
    for (const job of jobs) this.#finishEmbed(job);
  }

  /** Whether the run gave vectors or, with `last`, the requests were refused for want of them. */
  async #embedBatch(model: RunningModel, batch: readonly Row[], last: boolean): Promise<boolean> {
    try {
      if (!model.embedding) throw new EngineError('UNSUPPORTED_TASK', 'the model does not embed');
      const ids = batch.map((row) => row.ids);
      const vectors = await embedRows(model.session, model.embedding, ids);
      vectors.forEach((vector, i) => batch[i]?.job.vectors.push(vector));
      return true;
    } catch (error) {
      if (last) for (const { job } of batch) this.#dropEmbed(job, error);
      return last;
    }
  }

  #dropEmbed(job: EmbedJob, error: unknown): void {
    this.#waiting = this.#waiting.filter((other) => other !== job);
    this.#fail(job.id, error);
  }

  #finishEmbed(job: EmbedJob): void {
    if (job.vectors.length < job.rows.length) return;
    this.#waiting = this.#waiting.filter((other) => other !== job);
    this.#finish(job.id, { vectors: job.vectors, tokens: job.rows.map((row) => row.length) });
  }

  /** One step of the generation that has waited longest. */
  async #advance(): Promise<void> {
    const job = this.#generating.shift();
    if (!job) return;
    try {
      const { token, end } = await job.run.step();
      if (!this.#open.has(job.id)) return;
      if (token) this.#send({ kind: 'token', id: job.id, token });
      if (end) this.#finish(job.id, end);
      else this.#generating.splice(MAX_GENERATIONS - 1, 0, job);
    } catch (error) {
      this.#fail(job.id, error);
    }
  }

  #finish(id: number, result: RunResult): void {
    if (this.#open.delete(id)) this.#send({ kind: 'done', id, result });
  }

  /** Texts of the runtime may quote a request: only our own messages leave the process. */
  #fail(id: number, error: unknown): void {
    if (!this.#open.delete(id)) return;
    const known = error instanceof EngineError;
    const code: EngineErrorCode = known ? error.code : 'ENGINE_FAILED';
    this.#send({
      kind: 'failed',
      id,
      code,
      message: known ? error.message : 'the runtime failed on this request',
    });
  }
}
