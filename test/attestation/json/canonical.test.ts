import fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import { canonicalJson } from '../../../attestation/json/canonical.ts';
import { JsonError, parseStrictJsonText } from '../../../attestation/json/strict.ts';
import { propertyRuns, PROPERTY_TIMEOUT } from '../../support/runs.ts';

const data = fc.jsonValue({ maxDepth: 4, stringUnit: 'grapheme' });

describe('canonicalJson', () => {
  test('orders names by UTF-16 code units, as RFC 8785 section 3.2.3 shows', () => {
    const names = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\u{1f600}': 5, '\u0080': 6, '\u00f6': 7 };
    const inOrder = [...canonicalJson(names).matchAll(/:(\d)/g)].map(([, value]) => Number(value));
    expect(inOrder).toEqual([2, 4, 6, 7, 1, 5, 3]);
  });

  test.each([
    [1e30, '1e+30'],
    [4.5, '4.5'],
    [2e-3, '0.002'],
    [1e-27, '1e-27'],
    [-0, '0'],
    [333333333.3333333, '333333333.3333333'],
  ])('writes the number %d as ECMAScript does', (value, text) => {
    expect(canonicalJson(value)).toBe(text);
  });

  test.each([
    ['not a number', Number.NaN],
    ['an infinite number', [1, Number.POSITIVE_INFINITY]],
    ['half a surrogate pair', { a: '\ud800' }],
    ['half a surrogate pair in a name', { '\udc00': 1 }],
    ['undefined', { a: undefined }],
    ['a hole in an array', Array(2)],
    ['a bigint', 1n],
    ['a function', () => 1],
    ['an object of a class', new Date(0)],
    ['a map', new Map([['a', 1]])],
  ])('refuses %s', (_name, value) => {
    expect(() => canonicalJson(value)).toThrow(JsonError);
  });

  test('refuses what is nested too deeply', () => {
    let value: unknown = 1;
    for (let depth = 0; depth < 40; depth++) value = [value];
    expect(() => canonicalJson(value)).toThrow(JsonError);
  });

  test(
    'is one text for equal data, whatever the order of its names, and reads back as it was',
    () => {
      fc.assert(
        fc.property(data, (value) => {
          const text = canonicalJson(value);
          const read = parseStrictJsonText(text);
          expect(canonicalJson(read)).toBe(text);
          expect(canonicalJson(reversed(value))).toBe(text);
          // -0 is 0 in this form, so that data are compared as JSON has them.
          expect(read).toEqual(JSON.parse(JSON.stringify(value)));
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

/** The same data with the names of all objects in reverse. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).map(([name, member]) => [name, reversed(member)] as const);
  return Object.fromEntries(members.reverse());
}
