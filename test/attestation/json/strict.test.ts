import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { JsonError, parseStrictJson, parseStrictJsonText } from '../../../attestation/json/strict.ts';

describe('strict JSON', () => {
  test.each([
    ['a name twice', '{"a":1,"a":2}'],
    ['a name twice, once escaped', '{"a":1,"\\u0061":2}'],
    ['a name twice, deep', '[{"b":{"a":1, "a" :2}}]'],
    ['a name twice, with a quote', '{"\\"":1,"\\u0022":2}'],
    ['__proto__', '{"__proto__":{"x":1}}'],
    ['__proto__, escaped', '{"\\u005f_proto__":1}'],
    ['half a surrogate pair', '{"a":"\\ud800"}'],
    ['deep nesting', '['.repeat(33) + ']'.repeat(33)],
    ['very deep nesting', '['.repeat(1e5) + ']'.repeat(1e5)],
    ['a cut text', '{"a":'],
    ['a trailing comma', '{"a":1,}'],
    ['two values', '{} {}'],
    ['NaN', '{"a":NaN}'],
    ['nothing', ''],
    ['a byte order mark', '\ufeff{}'],
  ])('refuses %s', (_name, text) => {
    expect(() => parseStrictJson(Buffer.from(text))).toThrow(JsonError);
  });

  test('refuses what is not UTF-8', () => {
    expect(() => parseStrictJson(Uint8Array.of(0x22, 0xc3, 0x28, 0x22))).toThrow(JsonError);
  });

  test('takes equal names in different objects, and texts that look like names', () => {
    const text = '{"a":{"a":["a","a",":"]},"b":{"a":"{\\"a\\":1}"},"c":"\\\\","d":"\\ud83d\\ude00"}';
    expect(parseStrictJsonText(text)).toEqual(JSON.parse(text));
  });

  test('reads what JSON.parse reads, of any value with one meaning', () => {
    const property = fc.property(
      fc.jsonValue({ maxDepth: 6 }),
      fc.integer({ min: 0, max: 2 }),
      (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        if (!text.includes('__proto__')) expect(parseStrictJsonText(text)).toEqual(JSON.parse(text));
      },
    );
    fc.assert(property, { seed: 1, numRuns: 300 });
  });
});
