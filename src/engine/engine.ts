import type { ModelSource } from '../models/store.ts';
import type { ConstraintOptions } from './constraint/spec.ts';

/** Open Inference Protocol datatypes that tensors have here. */
export type Datatype =
  | 'BOOL'
  | 'UINT8'
  | 'UINT16'
  | 'UINT32'
  | 'UINT64'
  | 'INT8'
  | 'INT16'
  | 'INT32'
  | 'INT64'
  | 'FP16'
  | 'FP32'
  | 'FP64'
  | 'BYTES';

/** Values of one tensor, row-major. 64-bit integers are BigInt arrays, BYTES are text, FP16 raw bits. */
export type TensorData =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float32Array
  | Float64Array
  | readonly string[];

export interface Tensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Declared input or output; -1 is a free dimension. */
export interface TensorSpec {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
}

/** The template by which chat messages become a prompt, and the texts it may name; from the files that were hashed. */
export interface ChatTemplate {
  /** Jinja source. */
  readonly template: string;
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
}

/** A text, or the tokens of one. */
export type Text = string | readonly number[];

export type Task = 'infer' | 'embed' | 'generate';

/** A model as it was loaded: its identity is taken from the memory that runs. */
export interface LoadedModel {
  readonly id: string;
  readonly tasks: readonly Task[];
  /** Why it does not generate; undefined where it does. */
  readonly lacks?: string | undefined;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Encoded model manifest (DESIGN section 5) and its SHA-256. */
  readonly manifest: Uint8Array;
  readonly manifestDigest: Uint8Array;
  /** Execution providers that this session really has, such as `CPUExecutionProvider`. */
  readonly providers: readonly string[];
  /** Most tokens of one sequence; undefined where the model has no tokenizer. */
  readonly maxTokens: number | undefined;
  /** Length of an embedding; undefined without the task. */
  readonly dimensions: number | undefined;
  /** Undefined where the model is not made for chat. */
  readonly chatTemplate: ChatTemplate | undefined;
  /** How the model's own `generation_config.json` wants tokens to be drawn; undefined where it is greedy. */
  readonly samplingDefaults: SamplingDefaults | undefined;
}

export interface CallOptions {
  /** Aborting gives the slot back; the call rejects with `EngineError` code `CANCELLED`. */
  readonly signal?: AbortSignal;
  /** Milliseconds after which the call rejects with `DEADLINE_EXCEEDED`. */
  readonly deadlineMs?: number;
  /** Who asks; nobody in particular by default. Turns are fair between tenants. */
  readonly scope?: string;
}

export interface InferOptions extends CallOptions {
  /** Told how many rows the run had, where requests may share runs. */
  readonly onRows?: (rows: number) => void;
}

export interface Embeddings {
  readonly vectors: readonly Float32Array[];
  /** Tokens of each text, special tokens included. */
  readonly tokens: readonly number[];
}

export interface SamplingDefaults {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
}

/** How the next token is chosen (`sampling.ts`). */
export interface Sampling extends SamplingDefaults {
  /** 0 takes the largest logit; above, logits are divided by it. */
  readonly temperature: number;
  /** Only the likeliest tokens that have this share together are drawn from; 1 is all. */
  readonly topP: number;
  /** Only so many of the likeliest tokens are drawn from; 0 is all. */
  readonly topK: number;
  /** Taken from a token's logit for each time that it was generated. */
  readonly frequencyPenalty: number;
  /** Taken from a token's logit once it was generated. */
  readonly presencePenalty: number;
  /** A safe integer: with the choice and the position it decides every draw. */
  readonly seed: number;
  /** Number of the answer among those to one request, from 0. */
  readonly choice: number;
}

export interface GenerateOptions extends CallOptions, ConstraintOptions {
  readonly maxTokens: number;
  /** The prompt comes from the chat template, which has written the special tokens: none are added. */
  readonly templated?: boolean;
  /** Greedy where absent. */
  readonly sampling?: Sampling;
  /** Texts before whose first occurrence the generated text ends. */
  readonly stop?: readonly string[];
  /** How many likeliest tokens to tell with each token; absent: none, and no log-probability. */
  readonly logprobs?: number | undefined;
}

/** A token that the model might have continued with. */
export interface Alternative {
  readonly id: number;
  /** Its text by itself; the replacement character where it is part of a character. */
  readonly text: string;
  /** Natural logarithm of its probability before penalties, temperature and truncation. */
  readonly logprob: number;
}

/** One step of a generation. */
export interface GeneratedToken {
  readonly id: number;
  /**
   * Text that this token completes. Empty while a multi-byte character is open, or while the text may be the
   * beginning of a stop text.
   */
  readonly text: string;
  /** Where asked for: the token itself and the likeliest ones, in falling order. */
  readonly logprobs?: { readonly own: Alternative; readonly top: readonly Alternative[] };
}

export interface Generation {
  readonly promptTokens: number;
  /** Calls of `onToken`: the token that ends the text is not among them. */
  readonly completionTokens: number;
  readonly finishReason: 'stop' | 'length';
  /** Text that was held back for a stop text which did not come; absent where there is none. */
  readonly rest?: string;
}

export type EngineErrorCode =
  /** The request does not fit the model: a 400. */
  | 'INVALID_INPUT'
  /** No model has this id: a 404. */
  | 'UNKNOWN_MODEL'
  /** The model's files are not those that were loaded first, since the process restarted: a 503. */
  | 'MODEL_REFUSED'
  /** The model is being loaded or unloaded: a 409. */
  | 'MODEL_BUSY'
  /** As many requests are waiting as the engine holds: a 429. */
  | 'QUEUE_FULL'
  /** The model cannot do this task. */
  | 'UNSUPPORTED_TASK'
  | 'CANCELLED'
  | 'DEADLINE_EXCEEDED'
  /** The engine process died or is being restarted: a 503. */
  | 'ENGINE_UNAVAILABLE'
  /** The runtime failed on this request: a 500. */
  | 'ENGINE_FAILED';

export class EngineError extends Error {
  readonly code: EngineErrorCode;

  constructor(code: EngineErrorCode, message: string) {
    super(message);
    this.name = 'EngineError';
    this.code = code;
  }
}

/** A model that is loaded no more. */
export interface RefusedModel {
  readonly model: string;
  /** Code of `ModelError`. */
  readonly code: string;
  readonly message: string;
}

export interface EngineHealth {
  readonly state: 'starting' | 'ready' | 'restarting' | 'stopped';
  readonly restarts: number;
  /** Why it last died; undefined when it never did. */
  readonly lastFailure: string | undefined;
  /** Process that runs the models; undefined while there is none. */
  readonly pid: number | undefined;
  /** Requests that the process has not answered yet. */
  readonly pending: number;
  /** Models that are not served since a restart. */
  readonly refused: readonly RefusedModel[];
}

/** What is being done with a model that is not, or not yet, as it was asked for. */
export type ModelChange = 'LOADING' | 'UNLOADING';

/** Runs models outside the server's process. Never blocks the event loop. */
export interface ModelRunner {
  /** Loaded models, by id. */
  readonly models: ReadonlyMap<string, LoadedModel>;
  infer(model: string, inputs: readonly Tensor[], options?: InferOptions): Promise<readonly Tensor[]>;
  embed(model: string, texts: readonly Text[], options?: CallOptions): Promise<Embeddings>;
  /** Greedy unless `sampling` says otherwise; `onToken` is called in order before the promise resolves. */
  generate(
    model: string,
    prompt: Text,
    options: GenerateOptions,
    onToken: (token: GeneratedToken) => void,
  ): Promise<Generation>;
}

/** Runs models, and changes which ones there are. */
export interface Engine extends ModelRunner {
  /** Models that are being loaded or unloaded, by id. */
  readonly changing: ReadonlyMap<string, ModelChange>;
  health(): EngineHealth;
  /**
   * Loads a model, or loads it anew: the former is served until the new one is ready, and goes when its calls have
   * ended. Throws `ModelError` where it is refused; the former then stays.
   */
  load(source: ModelSource): Promise<LoadedModel>;
  /** Serves a model no more, and frees it when its calls have ended. */
  unload(id: string): Promise<void>;
  close(): Promise<void>;
}
