import type { Engine } from '../engine/engine.ts';
import type { Service } from './service.ts';

/** Something without which no request is answered. */
export interface Obstacle {
  readonly component: 'archive' | 'engine' | 'evidence' | 'log' | 'service';
  /** Stable, where there is one. */
  readonly code?: string;
  readonly reason: string;
  /** What a person can do about it. */
  readonly advice?: string;
  /** What the verifier of this service says of its evidence. */
  readonly refusal?: string;
}

export interface Readiness {
  readonly isReady: boolean;
  readonly obstacles: readonly Obstacle[];
}

/** Whether requests would be answered now, and what stands in the way. */
export function readiness({ engine, vouching, logFailure, admission, archive }: Service): Readiness {
  const obstacles: Obstacle[] = [];
  const { state } = engine.health();
  if (state !== 'ready') obstacles.push({ component: 'engine', reason: `the engine is ${state}` });
  const { stopReason: stop } = vouching;
  if (stop) obstacles.push({ component: 'evidence', ...stop });
  const failure = logFailure();
  if (failure !== undefined) obstacles.push({ component: 'log', reason: failure });
  const { code } = archive?.contentFailure ?? {};
  if (code !== undefined) obstacles.push({ component: 'archive', code, reason: 'content cannot be kept' });
  if (admission.isClosed) obstacles.push({ component: 'service', reason: 'the service is stopping' });
  return { isReady: obstacles.length === 0, obstacles };
}

/** Whether a model that is served would answer now. */
export function isModelReady(engine: Engine, id: string): boolean {
  const { state, refused } = engine.health();
  return state === 'ready' && !refused.some(({ model }) => model === id);
}
