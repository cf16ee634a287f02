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
} from './engine.ts';

/** Execution provider that the operator asks for. */
export type ProviderChoice = 'auto' | 'cpu' | 'cuda';

export interface LoadRequest {
  readonly kind: 'load';
  readonly models: readonly ModelSource[];
  readonly provider: ProviderChoice;
  /** Threads within one operator. */
  readonly threads: number;
}

/** One request; `id` is unique for the life of the parent. */
export type RunRequest =
  | {
      readonly kind: 'infer';
      readonly id: number;
      readonly model: string;
      readonly inputs: readonly Tensor[];
    }
  | { readonly kind: 'embed'; readonly id: number; readonly model: string; readonly texts: readonly string[] }
  | {
      readonly kind: 'generate';
      readonly id: number;
      readonly model: string;
      readonly prompt: string;
      readonly maxTokens: number;
      readonly templated: boolean;
      readonly sampling: Sampling | undefined;
      readonly stop: readonly string[];
      readonly logprobs: number | undefined;
    };

/** A request before it has an id. */
export type RunPayload = RunRequest extends infer Request
  ? Request extends RunRequest
    ? Omit<Request, 'id'>
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

/** The last is of a change. */
export type RunResult = readonly Tensor[] | Embeddings | Generation | LoadedReply | undefined;

/** What the child sends. Every request is answered by one `done` or `failed`, a cancelled one too. */
export type FromChild =
  | LoadedReply
  | { readonly kind: 'unavailable'; readonly message: string }
  | { readonly kind: 'token'; readonly id: number; readonly token: GeneratedToken }
  | { readonly kind: 'done'; readonly id: number; readonly result: RunResult }
  | {
      readonly kind: 'failed';
      readonly id: number;
      readonly code: EngineErrorCode;
      readonly message: string;
    };
