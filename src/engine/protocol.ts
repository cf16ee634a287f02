import type { ModelErrorCode } from '../models/errors.ts';
import type { ModelSource } from '../models/store.ts';
import type {
  Embeddings,
  EngineErrorCode,
  GeneratedToken,
  Generation,
  LoadedModel,
  Sampling,
  Tensor,
  Text,
} from './engine.ts';
import type { ConstraintSpec } from './constraint/spec.ts';

/** Execution provider that the operator asks for. */
export type ProviderChoice = 'auto' | 'cpu' | 'cuda';

export interface LoadRequest {
  readonly kind: 'load';
  readonly models: readonly ModelSource[];
  readonly provider: ProviderChoice;
  /** Threads within one operator. */
  readonly threads: number;
  readonly tuning: Tuning;
  /** Data keys of the sealed models, by model id. */
  readonly keys?: ReadonlyMap<string, KeyAnswer> | undefined;
}

/** The data key of a sealed model, or why there is none. */
export type KeyAnswer = { readonly key: Uint8Array } | { readonly problem: string };

/** How much is under way at once. */
export interface Tuning {
  /** Number of the CUDA device. */
  readonly device: number;
  /** Most memory of the device, in bytes; undefined: no limit. */
  readonly deviceMemoryBytes: number | undefined;
  /** Generations of one model that advance side by side. */
  readonly sequences: number;
  /** Most bytes of one model's caches; sequences wait for room. */
  readonly cacheBytes: number;
  /** Most bytes of what prompts leave behind for equal ones, for each model; 0 keeps nothing. */
  readonly prefixBytes: number;
  /** Rows of one tensor run that requests may share; 1: each request runs by itself. */
  readonly tensorRows: number;
  /** Milliseconds that a tensor request waits for others to share its run. */
  readonly tensorDelayMs: number;
}

/** What every request has; `id` is unique for the life of the parent. */
interface RequestBase {
  readonly id: number;
  readonly model: string;
  /** Who asks: turns are fair between tenants, and nothing that one leaves behind is found by another. */
  readonly scope: string;
}

export type RunRequest =
  | (RequestBase & { readonly kind: 'infer'; readonly inputs: readonly Tensor[] })
  | (RequestBase & { readonly kind: 'embed'; readonly texts: readonly Text[] })
  | (RequestBase & {
      readonly kind: 'generate';
      readonly prompt: Text;
      readonly maxTokens: number;
      readonly templated: boolean;
      readonly sampling: Sampling | undefined;
      readonly stop: readonly string[];
      readonly logprobs: number | undefined;
      readonly constraint: ConstraintSpec | undefined;
    });

/** A request before it has an id and a tenant. */
export type RunPayload = RunRequest extends infer Request
  ? Request extends RunRequest
    ? Omit<Request, 'id' | 'scope'>
    : never
  : never;

/** Changes of what is loaded, answered like requests; `key` is the child's name of the model. */
export type ChangeRequest =
  | {
      readonly kind: 'load-model';
      readonly id: number;
      readonly key: string;
      readonly load: LoadRequest;
    }
  | { readonly kind: 'unload-model'; readonly id: number; readonly key: string };

/** What the parent sends. */
export type ToChild =
  LoadRequest | RunRequest | ChangeRequest | { readonly kind: 'cancel'; readonly id: number };

/** A `ModelError` on the wire. */
export interface LoadFailure {
  readonly code: ModelErrorCode;
  readonly model: string;
  readonly file: string;
  readonly detail: string;
}

export interface LoadedReply {
  readonly kind: 'loaded';
  readonly models: readonly LoadedModel[];
  readonly failures: readonly LoadFailure[];
  /** Why `auto` did not take CUDA; undefined where it did or was not asked. */
  readonly fallback: string | undefined;
}

/** A token of one generation. */
export interface TokenOf {
  readonly id: number;
  readonly token: GeneratedToken;
}

/** Outputs, and the rows of the run that gave them where requests may share runs. */
export interface InferResult {
  readonly outputs: readonly Tensor[];
  readonly rows: number | undefined;
}

/** The last is of a change. */
export type RunResult = InferResult | Embeddings | Generation | LoadedReply | undefined;

/** What the child sends. Every request is answered by one `done` or `failed`, a cancelled one too. */
export type FromChild =
  | LoadedReply
  | { readonly kind: 'unavailable'; readonly message: string }
  /** Tokens of one turn, in order. */
  | { readonly kind: 'tokens'; readonly tokens: readonly TokenOf[] }
  | { readonly kind: 'done'; readonly id: number; readonly result: RunResult }
  | {
      readonly kind: 'failed';
      readonly id: number;
      readonly code: EngineErrorCode;
      readonly message: string;
    };
