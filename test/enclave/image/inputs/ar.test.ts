import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { propertyRuns } from '../../../support/runs.ts';
import { readAr } from '../../../../enclave/image/inputs/ar.ts';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { arOf } from './archives.ts';

const GOOD = arOf({ 'debian-binary': Buffer.from('2.0\n'), 'data.tar.xz': Buffer.from('odd') });
const malformed = expect.objectContaining({ code: 'IMAGE_INPUT_MALFORMED' });

describe('ar archives', () => {
  test('gives members by name', () => {
    expect([...readAr(GOOD)].map(([name, content]) => [name, Buffer.from(content).toString()])).toEqual([
      ['debian-binary', '2.0\n'],
      ['data.tar.xz', 'odd'],
    ]);
  });

  test('takes names that end with a slash, as GNU ar writes them', () => {
    expect([...readAr(arOf({ 'data.tar.xz/': Buffer.from('ok') })).keys()]).toEqual(['data.tar.xz']);
  });

  test.each([
    ['another file', Buffer.from('!<thin>\n')],
    ['nothing', Buffer.alloc(0)],
    ['a cut header', GOOD.subarray(0, 40)],
    ['a cut member', GOOD.subarray(0, GOOD.length - 2)],
    ['a missing pad', GOOD.subarray(0, GOOD.length - 1)],
    ['something after its end', Buffer.concat([GOOD, Buffer.from('x')])],
    ['a table of names', arOf({ '//': Buffer.from('name') })],
    ['a member twice', Buffer.concat([GOOD, arOf({ 'debian-binary': Buffer.from('3.0\n') }).subarray(8)])],
    [
      'a size that is no number',
      Buffer.from(GOOD.toString('latin1').replace('4         `', '-4        `'), 'latin1'),
    ],
    [
      'many members',
      arOf(Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`m${index}`, Buffer.alloc(0)]))),
    ],
  ])('refuses %s', (_, bytes) => {
    expect(() => readAr(bytes)).toThrow(malformed);
  });

  test('a damaged archive is read within its bytes, or refused', () => {
    fc.assert(
      fc.property(fc.nat(GOOD.length - 1), fc.nat(255), (at, value) => {
        const bytes = Buffer.from(GOOD);
        bytes[at] = value;
        try {
          for (const content of readAr(bytes).values()) expect(content.length).toBeLessThan(GOOD.length);
        } catch (error) {
          expect(error).toBeInstanceOf(ImageError);
        }
      }),
      propertyRuns(500),
    );
  });
});
