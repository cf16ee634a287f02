import { availableParallelism } from 'node:os';
import type { ModelSource } from '../models/store.ts';
import { type EngineOptions, TUNING } from './options.ts';
import type { KeyAnswer, LoadRequest } from './protocol.ts';

/** What the process is told to load, with the data keys of models that are sealed. */
export async function loadRequest(
  models: readonly ModelSource[],
  { provider, threads = defaultThreads(), tuning, dataKey }: EngineOptions,
): Promise<LoadRequest> {
  const request = { kind: 'load', models, provider, threads, tuning: { ...TUNING, ...tuning } } as const;
  const sealed = models.filter((source) => source.sealed);
  if (sealed.length === 0) return request;
  const keys = new Map<string, KeyAnswer>();
  // One after the other: whoever holds the keys is asked by one instance, and not by a crowd.
  for (const source of sealed) keys.set(source.id, await askForKey(source, dataKey));
  return { ...request, keys };
}

/** All cores but one: the service answers, signs and reads from that, and threads that wait for it cost both. */
function defaultThreads(): number {
  return Math.max(1, availableParallelism() - 1);
}

async function askForKey(source: ModelSource, dataKey: EngineOptions['dataKey']): Promise<KeyAnswer> {
  if (!dataKey) return { problem: 'this program asks nobody for data keys' };
  try {
    return { key: await dataKey(source) };
  } catch (error) {
    return { problem: error instanceof Error ? error.message : 'the data key was not released' };
  }
}
