import type { Engine } from '../engine/engine.ts';

/** Texts of the tokens of one generation, in order. */
export type Tokens = readonly string[];

/** An engine that draws with the recorded seed, and what it generated. */
export interface SeededEngine {
  readonly engine: Engine;
  /** Tokens of every generation that has run. */
  readonly generations: readonly Tokens[];
}

/**
 * The engine for one replay. `seed` is the one that the service drew where the request stated none: the route would
 * draw another. Undefined leaves every seed as the route has it.
 */
export function seedEngine(engine: Engine, seed: number | undefined): SeededEngine {
  const generations: string[][] = [];
  const seeded: Engine = {
    get models() {
      return engine.models;
    },
    get changing() {
      return engine.changing;
    },
    health: () => engine.health(),
    infer: (...call) => engine.infer(...call),
    embed: (...call) => engine.embed(...call),
    generate: (model, prompt, options, onToken) => {
      const tokens: string[] = [];
      generations.push(tokens);
      const { sampling } = options;
      const drawn = sampling && seed !== undefined ? { sampling: { ...sampling, seed } } : {};
      return engine.generate(model, prompt, { ...options, ...drawn }, (token) => {
        tokens.push(token.text);
        onToken(token);
      });
    },
    load: (source) => engine.load(source),
    unload: (id) => engine.unload(id),
    close: () => engine.close(),
  };
  return { engine: seeded, generations };
}
