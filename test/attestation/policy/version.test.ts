import { describe, expect, test } from '@jest/globals';
import { isAtLeast, readDecimalVersion } from '../../../attestation/policy/version.ts';

describe('versions of dotted decimal numbers', () => {
  test.each([
    ['570.86.10', '570.86.10', true],
    ['570.86.10', '570.86.9', true],
    ['570.100', '570.86.9', true],
    ['570', '570.0.0', true],
    ['570.86', '570.86.1', false],
    ['9', '10', false],
  ])('%s against %s is %p', (have, want, expected) => {
    expect(isAtLeast(readDecimalVersion(have)!, readDecimalVersion(want)!)).toBe(expected);
  });

  test.each(['', '570.', '.1', '570.86a', '570 .1', '-1', '1e3', '1'.repeat(10)])(
    '«%s» is of another form, and not at least anything',
    (text) => {
      expect(readDecimalVersion(text)).toBeUndefined();
    },
  );
});
