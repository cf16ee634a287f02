import { embedRows, rowsPerRun, widthOf } from './embedding.ts';
import { EngineError } from './engine.ts';
import { FairQueue } from './fairQueue.ts';
import { infer } from './inference.ts';
import type { RunningModel } from './model.ts';
import type { RunRequest, RunResult, Tuning } from './protocol.ts';
import { canShare, rowsOf, split, stack } from './tensorBatch.ts';

interface InferJob {
  readonly kind: 'infer';
  readonly id: number;
  readonly scope: string;
  readonly model: RunningModel;
  readonly request: Extract<RunRequest, { kind: 'infer' }>;
  /** Rows that it brings to a shared run; undefined where it runs by itself. */
  readonly rows: number | undefined;
  /** When it may no longer wait for company, in milliseconds of the process. */
  readonly due: number;
}

interface EmbedJob {
  readonly kind: 'embed';
  readonly id: number;
  readonly scope: string;
  readonly model: RunningModel;
  readonly rows: readonly (readonly number[])[];
  /** Rows without a vector. */
  readonly waiting: Set<number>;
  readonly vectors: Float32Array[];
}

type TensorJob = InferJob | EmbedJob;
type TensorRequest = Extract<RunRequest, { kind: 'infer' | 'embed' }>;

/** One text of a request. */
interface Row {
  readonly job: EmbedJob;
  readonly index: number;
  readonly ids: readonly number[];
}

export interface TensorListener {
  done(id: number, result: RunResult): void;
  fail(id: number, error: unknown): void;
}

/** Requests for tensors and embeddings. A turn is one run, which requests share where that changes no result. */
export class TensorQueue {
  readonly #tuning: Tuning;
  readonly #listener: TensorListener;
  readonly #jobs = new FairQueue<TensorJob>();

  constructor(tuning: Tuning, listener: TensorListener) {
    this.#tuning = tuning;
    this.#listener = listener;
  }

  get isEmpty(): boolean {
    return this.#jobs.length === 0;
  }

  submit(request: TensorRequest, model: RunningModel): void {
    this.#jobs.push(request.kind === 'infer' ? this.#toInfer(request, model) : toEmbed(request, model));
  }

  remove(id: number): void {
    this.#jobs.remove(id);
  }

  /** One turn. `busy`: there is other work, so that nothing is gained by waiting for company. */
  async advance(busy: boolean): Promise<void> {
    const next = this.#jobs.peek();
    if (next?.kind === 'infer') await this.#infer(next, busy);
    else if (next) await this.#embed(next);
  }

  #toInfer(request: Extract<RunRequest, { kind: 'infer' }>, model: RunningModel): InferJob {
    const { tensorRows, tensorDelayMs } = this.#tuning;
    const rows = tensorRows > 1 && model.batchable ? rowsOf(request.inputs) : undefined;
    const shares = rows !== undefined && rows < tensorRows;
    const due = performance.now() + (shares ? tensorDelayMs : 0);
    const { id, scope } = request;
    return { kind: 'infer', id, scope, model, request, rows: shares ? rows : undefined, due };
  }

  async #infer(job: InferJob, busy: boolean): Promise<void> {
    const jobs = this.#companyOf(job);
    const rows = jobs.reduce((sum, other) => sum + (other.rows ?? 0), 0);
    const wait = job.due - performance.now();
    if (job.rows !== undefined && rows < this.#tuning.tensorRows && wait > 0) {
      // What arrives meanwhile may join; generations go on.
      if (!busy) await new Promise((resolve) => setTimeout(resolve, Math.min(wait, 1)));
      return;
    }
    // Its tenant's next turn comes after everybody else's.
    this.#jobs.shift();
    for (const { id } of jobs) this.#jobs.remove(id);
    if (jobs.length > 1 && (await this.#inferTogether(jobs, rows))) return;
    for (const one of jobs) await this.#inferAlone(one);
  }

  /** This request and those that fit its run, in the order of the turns. */
  #companyOf(job: InferJob): readonly InferJob[] {
    const jobs = [job];
    let rows = job.rows;
    if (rows === undefined) return jobs;
    for (const other of this.#jobs.inOrder()) {
      if (other === job || other.kind !== 'infer' || other.model !== job.model || other.rows === undefined)
        continue;
      if (rows + other.rows > this.#tuning.tensorRows) continue;
      if (!canShare(job.request.inputs, other.request.inputs)) continue;
      jobs.push(other);
      rows += other.rows;
    }
    return jobs;
  }

  /** Whether a shared run answered them all; otherwise each runs by itself, so that one cannot fail the others. */
  async #inferTogether(jobs: readonly InferJob[], rows: number): Promise<boolean> {
    const [{ model }] = jobs as readonly [InferJob];
    try {
      const inputs = stack(jobs.map(({ request }) => request.inputs));
      const outputs = await infer(model.session, model.loaded.outputs, inputs);
      const parts = split(
        outputs,
        jobs.map((job) => job.rows ?? 0),
      );
      if (!parts) return false;
      jobs.forEach(({ id }, i) => this.#listener.done(id, { outputs: parts[i] ?? [], rows }));
      return true;
    } catch {
      return false;
    }
  }

  async #inferAlone({ id, model, request, rows }: InferJob): Promise<void> {
    try {
      const outputs = await infer(model.session, model.loaded.outputs, request.inputs);
      this.#listener.done(id, { outputs, rows });
    } catch (error) {
      this.#listener.fail(id, error);
    }
  }

  /** One run over rows of one width that wait for this model, whoever sent them. */
  async #embed(job: EmbedJob): Promise<void> {
    const { model } = job;
    const { embedding } = model;
    if (!embedding) return;
    const { width, batch } = this.#rowsLike(job);
    // Its tenant's next turn comes after everybody else's; until it is answered it can be cancelled.
    this.#jobs.shift();
    this.#jobs.push(job);
    // A row that makes its batch fail may fail only its own request: each is then run alone.
    if (!(await this.#embedBatch(model, batch, width, batch.length === 1))) {
      for (const row of batch) await this.#embedBatch(model, [row], width, true);
    }
    for (const touched of new Set(batch.map((row) => row.job))) this.#finishEmbed(touched);
  }

  /** Rows that share a run with the next row of this request. */
  #rowsLike(first: EmbedJob): { readonly width: number; readonly batch: readonly Row[] } {
    const { model } = first;
    const { embedding } = model;
    const widthOfRow = (ids: readonly number[] | undefined): number =>
      embedding && ids ? widthOf(ids.length, embedding.plan, embedding) : 0;
    const [next = 0] = first.waiting;
    const width = widthOfRow(first.rows[next]);
    const most = embedding?.rowwise === true ? rowsPerRun(width) : 1;
    const batch: Row[] = [];
    for (const job of this.#jobs.inOrder()) {
      if (job.kind !== 'embed' || job.model !== model) continue;
      for (const index of job.waiting) {
        const ids = job.rows[index];
        if (batch.length === most) return { width, batch };
        if (ids && widthOfRow(ids) === width) batch.push({ job, index, ids });
      }
    }
    return { width, batch };
  }

  /** Whether the run gave vectors or, with `last`, the requests were refused for want of them. */
  async #embedBatch(
    model: RunningModel,
    batch: readonly Row[],
    width: number,
    last: boolean,
  ): Promise<boolean> {
    try {
      if (!model.embedding) throw new EngineError('UNSUPPORTED_TASK', 'the model does not embed');
      const ids = batch.map((row) => row.ids);
      const vectors = await embedRows(model.session, model.embedding.plan, ids, width);
      batch.forEach(({ job, index }, i) => {
        const vector = vectors[i];
        if (!vector) return;
        job.vectors[index] = vector;
        job.waiting.delete(index);
      });
      return true;
    } catch (error) {
      if (last) for (const { job } of batch) this.#dropEmbed(job, error);
      return last;
    }
  }

  #dropEmbed(job: EmbedJob, error: unknown): void {
    this.#jobs.remove(job.id);
    this.#listener.fail(job.id, error);
  }

  /** A request that needs more runs lets the others have their turn first. */
  #finishEmbed(job: EmbedJob): void {
    if (!this.#jobs.remove(job.id)) return;
    if (job.waiting.size > 0) this.#jobs.push(job);
    else this.#listener.done(job.id, { vectors: job.vectors, tokens: job.rows.map((row) => row.length) });
  }
}

function toEmbed(request: Extract<RunRequest, { kind: 'embed' }>, model: RunningModel): EmbedJob {
  const { tokenizer } = model;
  if (!tokenizer || !model.embedding) throw new EngineError('UNSUPPORTED_TASK', 'the model does not embed');
  const rows = request.texts.map((text, i) => tokenizer.idsOf(text, true, `text ${i}`, request.scope));
  const waiting = new Set(rows.keys());
  return { kind: 'embed', id: request.id, scope: request.scope, model, rows, waiting, vectors: [] };
}
