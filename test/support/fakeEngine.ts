import {
  type CallOptions,
  type Embeddings,
  type Engine,
  EngineError,
  type EngineErrorCode,
  type EngineHealth,
  type GeneratedToken,
  type GenerateOptions,
  type Generation,
  type LoadedModel,
  type ModelChange,
  type Tensor,
  type Text,
} from '../../src/engine/engine.ts';
import type { ModelSource } from '../../src/models/store.ts';

const MODEL: LoadedModel = {
  id: 'fake',
  tasks: ['infer', 'embed', 'generate'],
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1] }],
  outputs: [{ name: 'x', datatype: 'FP32', shape: [-1] }],
  manifest: new Uint8Array([1]),
  manifestDigest: new Uint8Array(32).fill(5),
  providers: ['CPUExecutionProvider'],
  maxTokens: 64,
  dimensions: 2,
  chatTemplate: undefined,
  samplingDefaults: undefined,
};

/** Token ids are words of their own: `#7`. */
function wordsOf(text: Text): readonly string[] {
  return typeof text === 'string' ? text.split(' ') : text.map((id) => `#${id}`);
}

/** An engine without a model: it echoes tensors and words, and fails or waits as a test says. */
export class FakeEngine implements Engine {
  readonly models = new Map([[MODEL.id, MODEL]]);
  state: EngineHealth['state'] = 'ready';
  /** The next calls fail so. */
  failure: EngineErrorCode | 'unforeseen' | undefined;
  /** Calls wait until `release`, or until they are aborted. */
  held = false;
  calls = 0;
  aborted = 0;
  closed = false;
  #release: (() => void)[] = [];

  readonly changing = new Map<string, ModelChange>();

  health(): EngineHealth {
    return { state: this.state, restarts: 0, lastFailure: undefined, pid: 1, pending: 0, refused: [] };
  }

  release(): void {
    this.held = false;
    for (const go of this.#release.splice(0)) go();
  }

  async infer(_model: string, inputs: readonly Tensor[], options?: CallOptions): Promise<readonly Tensor[]> {
    await this.#turn(options);
    return inputs;
  }

  async embed(_model: string, texts: readonly Text[], options?: CallOptions): Promise<Embeddings> {
    await this.#turn(options);
    const vectors = texts.map((text) => Float32Array.of(text.length, 0.5));
    return { vectors, tokens: texts.map((text) => wordsOf(text).length) };
  }

  async generate(
    _model: string,
    prompt: Text,
    options: GenerateOptions,
    onToken: (token: GeneratedToken) => void,
  ): Promise<Generation> {
    const words = wordsOf(prompt);
    const tokens = words.slice(0, options.maxTokens);
    for (const [id, text] of tokens.entries()) {
      if (id === 1 || tokens.length === 1) await this.#turn(options);
      onToken({ id, text });
    }
    return { promptTokens: words.length, completionTokens: tokens.length, finishReason: 'stop' };
  }

  load({ id }: ModelSource): Promise<LoadedModel> {
    const model = { ...MODEL, id };
    this.models.set(id, model);
    return Promise.resolve(model);
  }

  unload(id: string): Promise<void> {
    if (!this.models.delete(id)) return Promise.reject(new EngineError('UNKNOWN_MODEL', 'no such model'));
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  async #turn(options?: CallOptions): Promise<void> {
    this.calls++;
    if (this.held) await this.#wait(options?.signal);
    if (this.failure === 'unforeseen') throw new Error('secret text of a prompt');
    if (this.failure) throw new EngineError(this.failure, `the engine says ${this.failure}`);
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#release.push(resolve);
      const abort = (): void => {
        this.aborted++;
        reject(new EngineError('CANCELLED', 'cancelled'));
      };
      if (signal?.aborted) abort();
      signal?.addEventListener('abort', abort, { once: true });
    });
  }
}
