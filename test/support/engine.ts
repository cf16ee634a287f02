import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Engine } from '../../src/engine/engine.ts';
import { startEngine } from '../../src/engine/host.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import { readStore } from '../../src/models/store.ts';
import { SHIPPED_MODELS } from './store.ts';

/** The compiled entry of the engine process: `npx tsc -b` writes it. */
export function childEntry(): URL {
  const entry = new URL('../../dist/src/engine/child.js', import.meta.url);
  if (!existsSync(fileURLToPath(entry))) throw new Error('dist/ has no engine: run `npx tsc -b` first');
  return entry;
}

/** An engine over a store, on one CPU thread. */
export async function startTestEngine(
  directory: string = SHIPPED_MODELS,
  options: Partial<EngineOptions> = {},
): Promise<Engine> {
  const { models, refused } = await readStore(directory);
  const [failure] = refused;
  if (failure) throw failure;
  return startEngine({ models, provider: 'cpu', threads: 1, childEntry: childEntry(), ...options });
}

/** Cosine of two vectors. */
export function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array): number =>
    x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
