import { describe, expect, test } from '@jest/globals';
import { wrap } from '../../../src/cli/terminal.ts';

describe('wrap', () => {
  test('breaks at spaces, and longer words anywhere', () => {
    expect(wrap('one two three', 7)).toEqual(['one two', 'three']);
    expect(wrap('a abcdefgh i', 3)).toEqual(['a', 'abc', 'def', 'gh', 'i']);
    expect(wrap('', 7)).toEqual(['']);
  });

  test('a word of a million characters is no deeper than a short one', () => {
    const lines = wrap('f'.repeat(1_000_000), 10);
    expect(lines).toHaveLength(100_000);
    expect(new Set(lines)).toEqual(new Set(['f'.repeat(10)]));
  });

  test.each([1, 0, -20, -Infinity])('ends at a width of %d', (width) => {
    expect(wrap('ab c', width)).toEqual(['a', 'b', 'c']);
  });

  test('no character is cut in two', () => {
    expect(wrap('\u{1f512}\u{1f512}\u{1f512}', 3)).toEqual(['\u{1f512}', '\u{1f512}', '\u{1f512}']);
    expect(wrap('a\u{1f512}', 1)).toEqual(['a', '\u{1f512}']);
  });
});
