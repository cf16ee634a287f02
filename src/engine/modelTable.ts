import type { ModelSource } from '../models/store.ts';
import { EngineError, type LoadedModel, type ModelChange } from './engine.ts';

/** A model as the child knows it. */
export interface Entry {
  readonly source: ModelSource;
  readonly model: LoadedModel;
  /** Name in the child: two loads of one model lie side by side until the former is drained. */
  key: string;
}

/** Models as they come and go, and how many calls each is busy with. */
export class ModelTable {
  readonly #models = new Map<string, LoadedModel>();
  readonly #entries = new Map<string, Entry>();
  readonly #changing = new Map<string, ModelChange>();
  readonly #busy = new Map<string, number>();
  readonly #idle = new Map<string, (() => void)[]>();
  #loads = 0;

  get models(): ReadonlyMap<string, LoadedModel> {
    return this.#models;
  }

  get changing(): ReadonlyMap<string, ModelChange> {
    return this.#changing;
  }

  /** What a process that starts has to load. */
  get sources(): readonly ModelSource[] {
    return [...this.#entries.values()].map(({ source }) => source);
  }

  get isLoading(): boolean {
    return [...this.#changing.values()].includes('LOADING');
  }

  keyOf(id: string): string {
    return this.#entries.get(id)?.key ?? id;
  }

  /** A new process knows each model by its id. */
  resetKeys(): void {
    for (const [id, entry] of this.#entries) entry.key = id;
  }

  /** Claims a model for one change at a time. */
  begin(id: string, change: ModelChange): void {
    const current = this.#changing.get(id);
    if (current) throw new EngineError('MODEL_BUSY', `the model is ${current}`);
    this.#changing.set(id, change);
  }

  end(id: string): void {
    this.#changing.delete(id);
  }

  /** A name in the child that no load had before. */
  nextKey(id: string): string {
    this.#loads += 1;
    return `${id}#${this.#loads}`;
  }

  /** Serves a model from now on; gives the one that it replaces. */
  put(source: ModelSource, model: LoadedModel, key: string): Entry | undefined {
    const former = this.#entries.get(model.id);
    this.#entries.set(model.id, { source, model, key });
    this.#models.set(model.id, model);
    return former;
  }

  /** Serves a model no more. */
  take(id: string): Entry | undefined {
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    this.#models.delete(id);
    return entry;
  }

  /** Counts a call as work of this model until it ends. */
  async during<Result>(key: string, call: Promise<Result>): Promise<Result> {
    this.#busy.set(key, (this.#busy.get(key) ?? 0) + 1);
    try {
      return await call;
    } finally {
      this.#leave(key);
    }
  }

  /** Resolves once no call is under way. */
  async drained(key: string): Promise<void> {
    if (!this.#busy.has(key)) return;
    await new Promise<void>((resolve) => {
      this.#idle.set(key, [...(this.#idle.get(key) ?? []), resolve]);
    });
  }

  #leave(key: string): void {
    const left = (this.#busy.get(key) ?? 1) - 1;
    if (left > 0) {
      this.#busy.set(key, left);
      return;
    }
    this.#busy.delete(key);
    const idle = this.#idle.get(key) ?? [];
    this.#idle.delete(key);
    for (const tell of idle) tell();
  }
}
