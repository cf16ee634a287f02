import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { equalBytes, utf8 } from '../../../attestation/bytes/bytes.ts';
import { compareAnswers, type FramedRecord } from '../../../src/replay/compareAnswers.ts';
import { withoutTimes } from '../../../src/replay/times.ts';
import { propertyRuns } from '../../support/runs.ts';

const body = (bytes: Uint8Array, jsonLength?: number): FramedRecord => ({
  answer: { kind: 'body', bytes },
  jsonLength,
});

/** JSON without a member that looks like a time. */
const json = fc
  .json()
  .filter((text) => !/"(?:created|created_at|completed_at)"/.test(text))
  .map(utf8);

const NAMES = ['created', 'created_at', 'completed_at', 'response', 'x', 'a"b'] as const;
/** JSON with the names of times everywhere. */
const timed = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.nat(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.string(),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...NAMES), tie('value'), { maxKeys: 5 }),
  ),
})).value;

/** The same with 0 for what is a time, on values. */
function timeless(value: unknown): unknown {
  const members = (holder: unknown, change: (name: string, inner: unknown) => unknown): unknown =>
    typeof holder === 'object' && holder !== null && !Array.isArray(holder)
      ? Object.fromEntries(Object.entries(holder).map(([name, inner]) => [name, change(name, inner)]))
      : holder;
  const masked = (name: string, inner: unknown, names: readonly string[]): unknown =>
    names.includes(name) && /^\d{1,16}$/.test(JSON.stringify(inner)) ? 0 : inner;
  return members(value, (name, inner) =>
    name === 'response'
      ? members(inner, (of, deep) => masked(of, deep, ['created_at', 'completed_at']))
      : masked(name, inner, ['created', 'created_at', 'completed_at']),
  );
}

describe('a comparison', () => {
  test('of any two bodies finds a difference exactly where bytes differ', () => {
    const bytes = fc.oneof(json, fc.uint8Array({ maxLength: 40 }));
    const frame = fc.option(fc.nat(40), { nil: undefined });
    fc.assert(
      fc.property(bytes, bytes, frame, (a, b, length) => {
        const found = compareAnswers(body(a, length), body(b, length));
        expect(found.length === 0).toBe(equalBytes(a, b));
      }),
      propertyRuns(500),
    );
  });

  test('leaves out whole seconds at the places of times, and nothing else', () => {
    fc.assert(
      fc.property(timed, fc.nat(3), (value, space) => {
        const text = JSON.stringify(value, undefined, space);
        expect(withoutTimes(text)).toBe(JSON.stringify(timeless(value), undefined, space));
      }),
      propertyRuns(500),
    );
  });

  test('of a body with one flipped bit finds it', () => {
    fc.assert(
      fc.property(json, fc.nat(), fc.nat(7), (bytes, place, bit) => {
        const changed = bytes.slice();
        changed[place % bytes.length]! ^= 1 << bit;
        expect(compareAnswers(body(bytes), body(changed))).not.toEqual([]);
        expect(compareAnswers(body(bytes), body(bytes.slice()))).toEqual([]);
      }),
      propertyRuns(500),
    );
  });
});
