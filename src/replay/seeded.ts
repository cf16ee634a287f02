import type { Engine } from '../engine/engine.ts';
import { rowsOf } from '../engine/tensorBatch.ts';

/** Texts of the tokens of one generation, in order. */
export type Tokens = readonly string[];

/** An engine that draws with the recorded seed, and what it generated. */
export interface SeededEngine {
  readonly engine: Engine;
  /** Tokens of every generation that has run. */
  readonly generations: readonly Tokens[];
  /** Rows that the request brought to each run of tensors; undefined where its tensors disagree. */
  readonly tensorRows: readonly (number | undefined)[];
}

/**
 * The engine for one replay. `seed` is the one that the service drew where the request stated none: the route would
 * draw another. Undefined leaves every seed as the route has it.
 */
export function seedEngine(engine: Engine, seed: number | undefined): SeededEngine {
  const generations: string[][] = [];
  const tensorRows: (number | undefined)[] = [];
  const seeded: Engine = {
    get models() {
      return engine.models;
    },
    get changing() {
      return engine.changing;
    },
    health: () => engine.health(),
    infer: (model, inputs, options) => {
      tensorRows.push(rowsOf(inputs));
      return engine.infer(model, inputs, options);
    },
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
  return { engine: seeded, generations, tensorRows };
}
