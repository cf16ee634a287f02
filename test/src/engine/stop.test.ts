import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { StopText } from '../../../src/engine/stop.ts';
import { propertyRuns } from '../../support/runs.ts';

/** The text that is kept of pieces, and whether a stop text came. */
function keep(stops: readonly string[], pieces: readonly string[]): readonly [string, boolean] {
  const text = new StopText(stops);
  let kept = '';
  for (const piece of pieces) {
    kept += text.push(piece);
    if (text.found) return [kept, true];
  }
  return [kept + text.flush(), false];
}

describe('a stop text', () => {
  test.each([
    ['in one piece', ['.'], ['one. two'], 'one', true],
    ['across pieces', ['END'], ['oneE', 'N', 'Dtwo'], 'one', true],
    ['that only begins', ['END'], ['oneE', 'N'], 'oneEN', false],
    ['that begins anew within itself', ['aab'], ['a', 'a', 'a', 'b'], 'a', true],
    ['that is complete first', ['abcd', 'bc'], ['a', 'bcd'], 'a', true],
    ['that is longer and ends with another', ['bc', 'abc'], ['xabc'], 'x', true],
    ['at once', ['x'], ['x'], '', true],
    ['that never comes', ['x'], ['abc'], 'abc', false],
    ['of none', [], ['a', 'b'], 'ab', false],
  ] as const)('%s', (_name, stops, pieces, text, found) => {
    expect(keep(stops, pieces)).toEqual([text, found]);
  });

  test('holds back no more than may be its beginning', () => {
    const text = new StopText(['END']);
    expect([text.push('oE'), text.push('x'), text.push('EN'), text.push('EN'), text.flush()]).toEqual([
      'o',
      'Ex',
      '',
      'EN',
      'EN',
    ]);
  });

  test('ends the text at one place, however it is cut into pieces', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '😀'), minLength: 1, maxLength: 4 });
    const stops = fc.array(letters, { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(stops, fc.array(letters, { maxLength: 8 }), (given, pieces) => {
        expect(keep(given, pieces)).toEqual(keep(given, Array.from(pieces.join(''))));
      }),
      propertyRuns(300),
    );
  });
});
