import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { keepLargest, keepNucleus } from '../../../src/engine/truncation.ts';
import { propertyRuns } from '../../support/runs.ts';

/** Ids above 0, the largest weight first, the smallest id among equals. */
function ranked(weights: Float64Array): readonly number[] {
  const ids = Array.from(weights.keys()).filter((id) => weights[id]! > 0);
  return ids.sort((a, b) => weights[b]! - weights[a]! || a - b);
}

function only(weights: Float64Array, ids: readonly number[]): Float64Array {
  return weights.map((weight, id) => (ids.includes(id) ? weight : 0));
}

/** The fewest whose sum, from the largest on, has the share. */
function nucleusOf(weights: Float64Array, share: number): readonly number[] {
  const needed = share * weights.reduce((total, weight) => total + weight, 0);
  const ids: number[] = [];
  let mass = 0;
  for (const id of ranked(weights)) {
    if (mass > 0 && mass >= needed) break;
    ids.push(id);
    mass += weights[id]!;
  }
  return ids;
}

const weight = fc.oneof(
  fc.double({ min: 0, max: 1, noNaN: true }),
  // Ties.
  fc.integer({ min: 0, max: 6 }).map((power) => 2 ** -power),
  // One group of weights that are hardly different.
  fc.integer({ min: 0, max: 3 }).map((steps) => 0.5 + steps * 2 ** -52),
  // Below the smallest normal number.
  fc.integer({ min: 0, max: 3 }).map((steps) => steps * 5e-324),
);
const weights = fc
  .array(weight, { minLength: 1, maxLength: 90 })
  .map((values) => Float64Array.from(values, Math.abs));

describe('truncation keeps exactly what a sort over all weights keeps', () => {
  test('with a number', () => {
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 95 }), (values, count) => {
        const kept = values.slice();
        keepLargest(kept, count);
        expect(kept).toEqual(only(values, ranked(values).slice(0, count)));
      }),
      propertyRuns(1000),
    );
  });

  test('with a share', () => {
    const share = fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 0.25, 0.5, 0.9));
    fc.assert(
      fc.property(weights, share, (values, part) => {
        const kept = values.slice();
        keepNucleus(kept, part);
        expect(kept).toEqual(only(values, nucleusOf(values, part)));
      }),
      propertyRuns(1000),
    );
  });
});

describe('a row of 150,000 weights', () => {
  const size = 150_000;
  const spread = Float64Array.from({ length: size }, (_, i) =>
    Math.exp(3 * Math.sin(i * 7919) + 3 * Math.sin(i * 104_729) - 6),
  );
  const flat = spread.map((value) => 0.9 + value / 100);

  // A sort of objects takes 70 to 240 ms.
  test.each([
    ['a share', (values: Float64Array) => keepNucleus(values, 0.9)],
    ['a number', (values: Float64Array) => keepLargest(values, size - 1)],
  ])('is cut to %s in few milliseconds, spread or not', (_name, cut) => {
    for (const row of [spread, flat]) {
      const times = Array.from({ length: 7 }, () => {
        const values = row.slice();
        const begin = performance.now();
        cut(values);
        return performance.now() - begin;
      });
      expect(Math.min(...times)).toBeLessThan(45);
    }
  });
});
