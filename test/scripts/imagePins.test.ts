import { describe, expect, test } from '@jest/globals';
import { digestIn, readParagraphs } from '../../scripts/image/debianIndex.ts';
import { compareVersions } from '../../scripts/image/debianVersion.ts';

describe('versions of Debian', () => {
  test('sort as deb-version(7) says', () => {
    const sorted = [
      '1.0~rc1-1',
      '1.0-1',
      '1.0-1+b1',
      '1.0-2~deb13u1',
      '1.0-2',
      '1.0-10',
      '1.0a-1',
      '1.0+dfsg-1',
      '1.9-1',
      '1.10-1',
      '6.12.115-1',
      '6.12.115-2',
      '1:0.1-1',
    ];
    expect(sorted.toReversed().toSorted(compareVersions)).toEqual(sorted);
    expect(compareVersions('1.0-1', '1.0-1')).toBe(0);
  });
});

describe('indexes of Debian', () => {
  test('paragraphs have names and values', () => {
    const [first, second] = readParagraphs('Package: a\nFiles:\n 1 x\n 2 y\nSize: 3\n\nPackage: b\n');
    expect([...(first ?? [])]).toEqual([['Package', 'a'], ['Files', '1 x\n 2 y'], ['Size', '3']]); // prettier-ignore
    expect(second?.get('Package')).toBe('b');
  });

  test('digests are those of the list of SHA-256', () => {
    const [good, other] = ['a'.repeat(64), 'b'.repeat(64)];
    const release = `Origin: Debian\nMD5Sum:\n ${'c'.repeat(32)} 1 main/Packages.xz\nSHA256:\n ${good}  1 main/Packages.xz\n ${other} 1 main/Sources.xz\nEnd: x\n`;
    expect(digestIn(release, 'main/Packages.xz')).toBe(good);
    expect(digestIn(release, 'main/Sources.xz')).toBe(other);
    expect(() => digestIn(release, 'main/Contents.xz')).toThrow('does not name');
  });
});
