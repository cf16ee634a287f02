import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { equalBytes, utf8 } from '../../../attestation/bytes/bytes.ts';
import { compareAnswers, type FramedRecord } from '../../../src/replay/compareAnswers.ts';
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
