import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Sampling } from '../../../src/engine/engine.ts';
import { chooseToken, GREEDY, logprobsOf, uniform } from '../../../src/engine/sampling.ts';
import { propertyRuns } from '../../support/runs.ts';

const NONE: ReadonlyMap<number, number> = new Map();
const row = (...logits: readonly number[]): Float32Array => Float32Array.from(logits);
const logs = (...shares: readonly number[]): Float32Array => Float32Array.from(shares, Math.log);
const DRAWS = 4000;
const KNOWN = [0.4466265558945819, 0.5042790151795729, 0.4784564373120057, 0.8112691520716678];

/** How often each token is drawn, as shares. */
function shares(logits: Float32Array, settings: Partial<Sampling>, made = NONE): readonly number[] {
  const counts = new Array<number>(logits.length).fill(0);
  for (let position = 0; position < DRAWS; position++) {
    const id = chooseToken(logits, { ...GREEDY, temperature: 1, ...settings }, made, position);
    counts[id]! += 1;
  }
  return counts.map((count) => count / DRAWS);
}

function expectShares(found: readonly number[], expected: readonly number[]): void {
  // Four standard deviations of a share of one half.
  found.forEach((share, id) => expect(Math.abs(share - expected[id]!)).toBeLessThan(0.032));
  expected.forEach((share, id) => share === 0 && expect(found[id]).toBe(0));
}

describe('a greedy choice', () => {
  test('is the largest logit, the smallest id among equals, and no number is none', () => {
    expect(chooseToken(row(1, 3, 3, NaN, 2), GREEDY, NONE, 0)).toBe(1);
    expect(chooseToken(row(-Infinity, -5), GREEDY, NONE, 0)).toBe(1);
    expect(() => chooseToken(row(NaN, NaN), GREEDY, NONE, 0)).toThrow('no logit is a number');
  });

  test('takes penalties', () => {
    const made = new Map([[0, 2]]);
    const choose = (changes: Partial<Sampling>): number =>
      chooseToken(row(2, 1, 0), { ...GREEDY, ...changes }, made, 2);
    expect(choose({ frequencyPenalty: 0.4 })).toBe(0);
    expect(choose({ frequencyPenalty: 0.6 })).toBe(1);
    expect(choose({ presencePenalty: 0.9 })).toBe(0);
    expect(choose({ presencePenalty: 1.1 })).toBe(1);
    expect(chooseToken(row(1, 2), { ...GREEDY, presencePenalty: -2 }, made, 2)).toBe(0);
  });
});

describe('a draw', () => {
  test('is the hash that is documented', () => {
    const input = Buffer.concat([
      Buffer.from('vouchsafe/sample/1'),
      Buffer.from('fffffffffffffffe0000000300000007', 'hex'),
    ]);
    const bits = createHash('sha256').update(input).digest('hex').slice(0, 16);
    expect(uniform(-2, 3, 7)).toBe(Number(BigInt(`0x${bits}`) / 2n ** 11n) / 2 ** 53);
    // Known answers, of an implementation in another language.
    expect([uniform(0, 0, 0), uniform(42, 0, 0), uniform(42, 1, 0), uniform(42, 0, 1)]).toEqual(KNOWN);
  });

  test('follows the probabilities', () => {
    expectShares(shares(logs(0.5, 0.3, 0.2), {}), [0.5, 0.3, 0.2]);
  });

  test('temperature sharpens and flattens', () => {
    expectShares(shares(logs(0.5, 0.3, 0.2), { temperature: 0.5 }), [25 / 38, 9 / 38, 4 / 38]);
    const flat = [0.5, 0.3, 0.2].map(Math.sqrt);
    const total = flat.reduce((sum, share) => sum + share, 0);
    expectShares(
      shares(logs(0.5, 0.3, 0.2), { temperature: 2 }),
      flat.map((share) => share / total),
    );
  });

  test('top_k keeps the likeliest, the smallest ids among equals', () => {
    expectShares(shares(logs(0.2, 0.5, 0.3), { topK: 2 }), [0, 5 / 8, 3 / 8]);
    expectShares(shares(logs(0.25, 0.25, 0.25, 0.25), { topK: 2 }), [0.5, 0.5, 0, 0]);
    expectShares(shares(logs(0.2, 0.5, 0.3), { topK: 3 }), [0.2, 0.5, 0.3]);
  });

  test('top_p keeps the fewest that have the share, and one at least', () => {
    expectShares(shares(logs(0.2, 0.5, 0.3), { topP: 0.6 }), [0, 5 / 8, 3 / 8]);
    expectShares(shares(logs(0.2, 0.5, 0.3), { topP: 0.4 }), [0, 1, 0]);
    expectShares(shares(logs(0.2, 0.5, 0.3), { topP: 0 }), [0, 1, 0]);
    expectShares(shares(logs(0.2, 0.5, 0.3), { topP: 0.9 }), [0.2, 0.5, 0.3]);
  });

  test('top_p is a share of what top_k keeps', () => {
    expectShares(shares(logs(0.4, 0.35, 0.25), { topK: 2, topP: 0.5 }), [1, 0, 0]);
  });

  test('penalties move it', () => {
    const made = new Map([[0, 1]]);
    expectShares(shares(logs(0.5, 0.5), { presencePenalty: Math.log(3) }, made), [0.25, 0.75]);
  });

  test('depends on seed, choice and position alone, and never leaves what is kept', () => {
    const logits = fc.array(fc.float({ noNaN: false, min: -50, max: 50 }), { minLength: 1, maxLength: 60 });
    const settings = fc.record({
      temperature: fc.double({ min: 0, max: 2, noNaN: true }),
      topP: fc.double({ min: 0, max: 1, noNaN: true }),
      topK: fc.nat({ max: 70 }),
      frequencyPenalty: fc.double({ min: -2, max: 2, noNaN: true }),
      presencePenalty: fc.double({ min: -2, max: 2, noNaN: true }),
      seed: fc.maxSafeInteger(),
      choice: fc.nat({ max: 15 }),
    });
    fc.assert(
      fc.property(logits, settings, fc.nat({ max: 9 }), (values, sampling, position) => {
        const given = Float32Array.from(values);
        fc.pre(values.some((value) => !Number.isNaN(value)));
        const made = new Map([[0, 1]]);
        const id = chooseToken(given, sampling, made, position);
        expect(chooseToken(given.slice(), { ...sampling }, new Map(made), position)).toBe(id);
        expect(values[id]).not.toBeNaN();
        const penalty = (token: number): number =>
          token === 0 ? sampling.frequencyPenalty + sampling.presencePenalty : 0;
        const larger = values.filter(
          (value, token) => value - penalty(token) > values[id]! - penalty(id) + 1e-3,
        );
        if (sampling.topK > 0) expect(larger.length).toBeLessThan(sampling.topK);
      }),
      propertyRuns(300),
    );
  });

  test('is that of a sort over the whole vocabulary', () => {
    const naive = (logits: readonly number[], { temperature, topK, topP, seed }: Sampling): number => {
      const most = Math.max(...logits);
      let kept = logits.map((value, id) => ({ id, weight: Math.exp((value - most) / temperature) }));
      kept.sort((a, b) => b.weight - a.weight || a.id - b.id);
      if (topK > 0) kept = kept.slice(0, topK);
      const mass = (some: typeof kept): number => some.reduce((sum, { weight }) => sum + weight, 0);
      const total = mass(kept);
      const share = topP * total;
      if (topP < 1) kept = kept.filter((_, i) => i === 0 || mass(kept.slice(0, i)) < share);
      kept.sort((a, b) => a.id - b.id);
      const target = uniform(seed, 0, 3) * mass(kept);
      return kept.find((_, i) => target < mass(kept.slice(0, i + 1)))!.id;
    };
    // Multiples of a quarter give ties.
    const logits = fc.array(
      fc.integer({ min: -80, max: 80 }).map((value) => value / 4),
      { minLength: 1, maxLength: 80 },
    );
    const limits = fc.record({
      topK: fc.nat({ max: 90 }),
      topP: fc.constantFrom(0.1, 0.37, 0.5, 0.83, 0.97, 1),
    });
    fc.assert(
      fc.property(logits, limits, fc.integer(), (values, { topK, topP }, seed) => {
        const sampling = { ...GREEDY, temperature: 2, topK, topP, seed };
        expect(chooseToken(Float32Array.from(values), sampling, NONE, 3)).toBe(naive(values, sampling));
      }),
      propertyRuns(500),
    );
  });

  test('survives logits that are infinite', () => {
    const drawn = { ...GREEDY, temperature: 1 };
    expect(chooseToken(row(0, Infinity, 1), drawn, NONE, 0)).toBe(1);
    expect(chooseToken(row(-Infinity, 0, NaN), drawn, NONE, 0)).toBe(1);
    expect(chooseToken(row(3, 2), { ...drawn, temperature: 5e-324 }, NONE, 0)).toBe(0);
  });
});

describe('log-probabilities', () => {
  test('are those of the model, likeliest first', () => {
    const { own, top } = logprobsOf(row(Math.log(0.2), Math.log(0.5), Math.log(0.3), -Infinity), 0, 2);
    expect(own.id).toBe(0);
    expect(own.logprob).toBeCloseTo(Math.log(0.2), 6);
    expect(top.map(({ id }) => id)).toEqual([1, 2]);
    expect(top[0]!.logprob).toBeCloseTo(Math.log(0.5), 6);
    expect(logprobsOf(row(1, 1, 1), 2, 2).top.map(({ id }) => id)).toEqual([0, 1]);
    expect(logprobsOf(row(1, 2), 0, 0).top).toEqual([]);
    expect(logprobsOf(row(1, 2), 0, 5).top).toHaveLength(2);
    expect(logprobsOf(row(1, -Infinity), 1, 1).own.logprob).toBe(-Infinity);
  });
});
