import type { ModelSource } from '../models/store.ts';
import type { RefusedModel } from './engine.ts';
import type { ProviderChoice, Tuning } from './protocol.ts';

/** What operators want to hear of; no request's content is in it. */
export type EngineEvent =
  | { readonly kind: 'ready'; readonly pid: number | undefined; readonly restarts: number }
  | { readonly kind: 'died'; readonly reason: string; readonly retryInMs: number }
  | { readonly kind: 'fallback'; readonly detail: string }
  | { readonly kind: 'refused'; readonly refused: RefusedModel };

export interface EngineOptions {
  readonly models: readonly ModelSource[];
  readonly provider: ProviderChoice;
  /** Compiled `child.js`. */
  readonly childEntry: URL;
  /** Threads within one operator; all cores but one by default. Part of the manifest. */
  readonly threads?: number;
  /** What differs from `TUNING`. */
  readonly tuning?: Partial<Tuning>;
  /** Requests that may wait for the process; 1,024 by default. */
  readonly maxPending?: number;
  /** Milliseconds without any answer after which a busy process is killed; two minutes by default. */
  readonly stallMs?: number;
  /** Milliseconds until a process that starts must have loaded its models; ten minutes by default. */
  readonly loadMs?: number;
  /** First delay before a restart and the longest; each failure in a row doubles it. */
  readonly backoff?: { readonly firstMs: number; readonly capMs: number };
  readonly onEvent?: (event: EngineEvent) => void;
  /**
   * Gets the data key of a sealed model; asked for every time that the model is loaded. The bytes are overwritten
   * once the process has them. What it throws is a reason that operators may read.
   */
  readonly dataKey?: ((source: ModelSource) => Promise<Uint8Array>) | undefined;
}

/** What holds where nothing is said. */
export const TUNING: Tuning = {
  device: 0,
  deviceMemoryBytes: undefined,
  sequences: 16,
  cacheBytes: 0x4000_0000,
  prefixBytes: 0x400_0000,
  tensorRows: 1,
  tensorDelayMs: 0,
};
