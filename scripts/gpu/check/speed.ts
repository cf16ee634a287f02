import { setTimeout as delay } from 'node:timers/promises';
import { type Engine, EngineError, type LoadedModel } from '../../../src/engine/engine.ts';
import { PROMPTS, TEXTS, tokenIds } from './inputs.ts';
import type { Figure } from './result.ts';

export interface SpeedSettings {
  /** Seconds of each load. */
  readonly seconds: number;
  /** Generations side by side, each number a load of its own. */
  readonly streams: readonly number[];
  /** Tokens of each generation. */
  readonly tokens: number;
}

/** Callers of each load of embeddings. */
const CALLERS = [1, 32] as const;
const PREFILL_TOKENS = 1024;
const PREFILL_ROUNDS = 5;

/** Tells one load's requests from another's: what a prompt leaves behind is found by its own scope alone. */
let scopes = 0;
const nextScope = (): string => `load-${++scopes}`;

/** What was generated while a load lasted. */
export interface Generated {
  readonly tokensPerSecond: number;
  /** Mean length of the sequences whose tokens were counted: tokens of the prompt and those so far. */
  readonly meanLength: number;
  readonly figures: readonly Figure[];
}

/** Keeps so many generations going for some seconds and counts their tokens. */
export async function generateFor(
  engine: Engine,
  { id, maxTokens: context = 256 }: LoadedModel,
  streams: number,
  { seconds, tokens }: Omit<SpeedSettings, 'streams'>,
): Promise<Generated> {
  const most = Math.max(1, Math.min(tokens, Math.floor(context / 2)));
  const counted = { tokens: 0, lengths: 0, gaps: [] as number[] };
  const stopped = new AbortController();
  const started = performance.now();
  const stream = async (first: number): Promise<void> => {
    for (let i = first; !stopped.signal.aborted; i++) {
      let last = performance.now();
      let length = 0;
      const options = { maxTokens: most, scope: nextScope(), signal: stopped.signal };
      await engine.generate(id, PROMPTS[i % PROMPTS.length] ?? '', options, () => {
        const now = performance.now();
        if (length > 0) counted.gaps.push(now - last);
        last = now;
        length++;
        counted.tokens++;
        counted.lengths += length;
      });
    }
  };
  const all = Promise.all(Array.from({ length: streams }, (_, i) => untilCancelled(stream(i))));
  try {
    await Promise.race([delay(seconds * 1000), all]);
  } finally {
    stopped.abort();
  }
  await all;
  const elapsed = (performance.now() - started) / 1000;
  const tokensPerSecond = counted.tokens / elapsed;
  const named = `at ${streams} streams`;
  return {
    tokensPerSecond,
    meanLength: counted.tokens > 0 ? counted.lengths / counted.tokens : 0,
    figures: [
      { model: id, name: `tokens, ${named}`, value: tokensPerSecond, unit: '1/s' },
      ...percentiles(id, `between tokens, ${named}`, counted.gaps),
    ],
  };
}

async function untilCancelled(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof EngineError && error.code === 'CANCELLED')) throw error;
  }
}

/** Tokens of prompts that are read in a second: each prompt is new to the engine. */
export async function prefill(
  engine: Engine,
  { id, maxTokens: context = 256 }: LoadedModel,
): Promise<Figure> {
  const length = Math.max(1, Math.min(PREFILL_TOKENS, context - 2));
  const ask = async (round: number): Promise<number> => {
    const options = { maxTokens: 1, scope: nextScope() };
    const { promptTokens } = await engine.generate(
      id,
      tokenIds(length, 100 + round),
      options,
      () => undefined,
    );
    return promptTokens;
  };
  await ask(0);
  let tokens = 0;
  const started = performance.now();
  for (let round = 1; round <= PREFILL_ROUNDS; round++) tokens += await ask(round);
  const value = tokens / ((performance.now() - started) / 1000);
  return { model: id, name: `prefill, prompts of ${length} tokens`, value, unit: '1/s' };
}

/** Latency and rate of embeddings of one text each. */
export async function embedFor(engine: Engine, model: string, seconds: number): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const callers of CALLERS) {
    const samples: number[] = [];
    const started = performance.now();
    const end = started + seconds * 1000;
    const call = async (first: number): Promise<void> => {
      for (let i = first; performance.now() < end; i++) {
        const before = performance.now();
        await engine.embed(model, [TEXTS[i % TEXTS.length] ?? '']);
        samples.push(performance.now() - before);
      }
    };
    await Promise.all(Array.from({ length: callers }, (_, i) => call(i)));
    const rate = samples.length / ((performance.now() - started) / 1000);
    const named = `embeddings, ${callers} at once`;
    figures.push({ model, name: named, value: rate, unit: '1/s' }, ...percentiles(model, named, samples));
  }
  return figures;
}

function percentiles(model: string, name: string, samples: readonly number[]): readonly Figure[] {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
  if (sorted.length === 0) return [];
  return [
    { model, name: `${name}, p50`, value: at(0.5), unit: 'ms' },
    { model, name: `${name}, p99`, value: at(0.99), unit: 'ms' },
  ];
}
