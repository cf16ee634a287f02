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
