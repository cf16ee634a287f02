import { compileConstraint } from './constraint/constraint.ts';
import { ContinuousBatch, type GenerationJob } from './continuousBatch.ts';
import { EngineError, type EngineErrorCode } from './engine.ts';
import type { RunningModel } from './model.ts';
import type { FromChild, RunRequest, RunResult, TokenOf, Tuning } from './protocol.ts';
import { Sequence } from './sequence.ts';
import { TensorQueue } from './tensorQueue.ts';

/**
 * Decides what the process runs next. A run cannot be interrupted, so fairness lies between runs: one tensor run, then
 * one turn of every model's generations, and so on. Requests share runs where that does not change their results.
 */
export class Scheduler {
  readonly #models: ReadonlyMap<string, RunningModel>;
  readonly #send: (message: FromChild) => void;
  /** Requests without an answer; what is not here any more was cancelled. */
  readonly #open = new Set<number>();
  readonly #tensors: TensorQueue;
  readonly #batches = new Map<RunningModel, ContinuousBatch>();
  /** Tokens of the turn under way. */
  #tokens: TokenOf[] = [];
  #running = false;
  /** Ends with the run that is under way. */
  #turn: Promise<void> = Promise.resolve();

  constructor(models: ReadonlyMap<string, RunningModel>, tuning: Tuning, send: (message: FromChild) => void) {
    this.#models = models;
    this.#send = send;
    this.#tensors = new TensorQueue(tuning, {
      done: (id, result) => {
        this.#finish(id, result);
      },
      fail: (id, error) => {
        this.#fail(id, error);
      },
    });
  }

  submit(request: RunRequest): void {
    this.#open.add(request.id);
    try {
      const model = this.#models.get(request.model);
      if (!model) throw new EngineError('UNKNOWN_MODEL', 'no such model');
      if (request.kind === 'generate') this.#generate(request, model);
      else this.#tensors.submit(request, model);
    } catch (error) {
      this.#fail(request.id, error);
    }
    if (!this.#running) void this.#work();
  }

  /** Drops a request; a run that is under way ends unheard. */
  cancel(id: number): void {
    this.#tensors.remove(id);
    for (const batch of this.#batches.values()) batch.cancel(id);
    this.#fail(id, new EngineError('CANCELLED', 'the request was cancelled'));
  }

  /** Frees a model; the parent has waited for its calls, but one that was cancelled may still be under way. */
  async release(model: RunningModel): Promise<void> {
    await this.#turn;
    this.#batches.get(model)?.release();
    this.#batches.delete(model);
    await model.release();
  }

  #generate(request: Extract<RunRequest, { kind: 'generate' }>, model: RunningModel): void {
    const { tokenizer, generation } = model;
    if (!tokenizer || !generation) throw new EngineError('UNSUPPORTED_TASK', 'the model does not generate');
    const prompt = tokenizer.idsOf(request.prompt, !request.templated, 'the prompt', request.scope);
    if (prompt.length >= tokenizer.maxTokens) {
      throw new EngineError(
        'INVALID_INPUT',
        `the prompt fills all ${tokenizer.maxTokens} tokens of the context`,
      );
    }
    const { endTokens } = generation;
    const { id, scope } = request;
    const constraint =
      request.constraint && compileConstraint(request.constraint, model.vocabulary(), endTokens, scope);
    const sequence = new Sequence(tokenizer, endTokens, prompt, { ...request, constraint });
    const batch = this.#batchOf(model);
    if (!batch.holds(sequence)) {
      throw new EngineError(
        'INVALID_INPUT',
        'the prompt and max_tokens need more memory than all caches have',
      );
    }
    batch.submit({ id, scope, sequence } satisfies GenerationJob);
  }

  #batchOf(model: RunningModel): ContinuousBatch {
    const known = this.#batches.get(model);
    if (known) return known;
    if (!model.generation) throw new EngineError('UNSUPPORTED_TASK', 'the model does not generate');
    const batch = new ContinuousBatch(model.generation.language, {
      token: (id, token) => {
        if (this.#open.has(id)) this.#tokens.push({ id, token });
      },
      end: (id, generation) => {
        this.#flush();
        this.#finish(id, generation);
      },
      fail: (id, error) => {
        this.#flush();
        this.#fail(id, error);
      },
    });
    this.#batches.set(model, batch);
    return batch;
  }

  async #work(): Promise<void> {
    this.#running = true;
    for (;;) {
      // Messages that came in during the last run are read here, so that they can share the next.
      await new Promise((resolve) => setImmediate(resolve));
      const batches = [...this.#batches.values()].filter((batch) => !batch.isIdle);
      if (this.#tensors.isEmpty && batches.length === 0) break;
      await (this.#turn = this.#tensors.advance(batches.length > 0));
      for (const batch of batches) {
        await (this.#turn = batch.advance().catch((error: unknown) => {
          batch.abandon(error);
        }));
        this.#flush();
      }
    }
    this.#running = false;
  }

  /** One message for all tokens of a turn. */
  #flush(): void {
    if (this.#tokens.length > 0) this.#send({ kind: 'tokens', tokens: this.#tokens });
    this.#tokens = [];
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
