import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatFileLine, readFileList } from '../../../attestation/archive/fileList.ts';
import {
  encodeRenewal,
  isFilePath,
  parseRenewal,
  SegmentTree,
  type FileEntry,
  type RenewalRecord,
} from '../../../attestation/archive/renewal.ts';
import { parseRenewalName } from '../../../attestation/archive/renewalFiles.ts';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../../../attestation/cbor/deterministic.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { leafHash } from '../../../attestation/log/merkle.ts';
import { rootOf } from '../../../attestation/log/memoryTree.ts';
import { refusalOf } from '../../support/refusal.ts';
import { INSTANCE } from '../../support/renewedArchive.ts';

const SHA512 = (bytes: Uint8Array) => nodeCrypto.hash('sha512', bytes);

const RECORD: RenewalRecord = {
  hash: 'sha512',
  seq: 1,
  previous: new Uint8Array(64).fill(1),
  segments: [
    { name: INSTANCE, root: new Uint8Array(64).fill(2), count: 3, bytes: 400 },
    { name: 'renewals', root: new Uint8Array(64).fill(3), count: 2, bytes: 30 },
  ],
  madeAt: 1_795_262_400,
};

/** The record with one of its six items replaced. */
function withItem(position: number, value: Dc): Uint8Array {
  const items = decodeDc(encodeRenewal(RECORD)) as readonly Dc[];
  return encodeDc(items.with(position, value));
}

describe('a renewal record', () => {
  test('is what was encoded', () => {
    expect(parseRenewal(encodeRenewal(RECORD))).toEqual(RECORD);
    const first: RenewalRecord = { ...RECORD, hash: 'sha384', seq: 0, previous: undefined, segments: [] };
    expect(parseRenewal(encodeRenewal(first))).toEqual(first);
  });

  test.each<[string, Uint8Array, string]>([
    ['another label', withItem(0, 'vouchsafe/renewal/2'), 'MALFORMED'],
    ['a hash of the logs themselves', withItem(1, 'sha256'), 'UNSUPPORTED'],
    ['a hash that no object has of its own', withItem(1, 'toString'), 'UNSUPPORTED'],
    ['digests of another length than its hash', withItem(1, 'sha384'), 'MALFORMED'],
    ['seq 0 with a former renewal', withItem(2, 0), 'MALFORMED'],
    ['no former renewal behind seq 0', withItem(3, new Uint8Array(0)), 'MALFORMED'],
    ['a segment that is no instance', withItem(4, [['../etc', new Uint8Array(64), 1, 1]]), 'MALFORMED'],
    [
      'segments out of order',
      withItem(4, [
        ['renewals', new Uint8Array(64), 1, 1],
        [INSTANCE, new Uint8Array(64), 1, 1],
      ]),
      'MALFORMED',
    ],
    [
      'a segment twice',
      withItem(4, [
        [INSTANCE, new Uint8Array(64), 1, 1],
        [INSTANCE, new Uint8Array(64), 1, 1],
      ]),
      'MALFORMED',
    ],
    ['a count below zero', withItem(4, [[INSTANCE, new Uint8Array(64), -1, 1]]), 'MALFORMED'],
    [
      'too many segments',
      withItem(
        4,
        Array.from({ length: 8193 }, () => []),
      ),
      'MALFORMED',
    ],
    ['a time that is text', withItem(5, '2026'), 'MALFORMED'],
  ])('with %s is refused', (_what, bytes, code) => {
    expect(refusalOf(() => parseRenewal(bytes))?.code).toBe(code);
  });
});

function entryOf(path: string, content: string): FileEntry {
  const bytes = utf8(content);
  return { path, size: bytes.length, digest: SHA512(bytes) };
}

describe('the tree of a segment', () => {
  test('is that of RFC 9162 under the new hash', () => {
    const entries = ['a', 'b/c', 'b/d', 'e', 'f'].map((path) => entryOf(path, path));
    const tree = new SegmentTree('sha512', nodeCrypto);
    for (const entry of entries) tree.add(entry);
    const leaves = entries.map(({ path, size, digest }) => leafHash(SHA512, encodeDc([path, size, digest])));
    expect(tree.segment(INSTANCE)).toEqual({
      name: INSTANCE,
      root: rootOf(SHA512, leaves),
      count: 5,
      bytes: 9,
    });
  });

  test.each(['a', 'A', '', '../a', '/b', 'b//c', '.hidden', `b${'c'.repeat(200)}`, 'b c', 'b\n'])(
    'takes no file %j behind a',
    (path) => {
      const tree = new SegmentTree('sha512', nodeCrypto);
      tree.add(entryOf('a', 'a'));
      expect(refusalOf(() => tree.add(entryOf(path, 'b')))?.code).toBe('MALFORMED');
    },
  );
});

describe('a list of files', () => {
  const list = utf8(formatFileLine(entryOf('a/b', 'x')) + formatFileLine(entryOf('c', '')));

  test('is what was written', () => {
    expect([...readFileList(list, 'sha512')]).toEqual([entryOf('a/b', 'x'), entryOf('c', '')]);
  });

  test.each<[string, Uint8Array]>([
    ['a torn line', list.subarray(0, -1)],
    ['no newline in megabytes', new Uint8Array(2_000_000).fill(0x61)],
    ['a digest in capitals', utf8(formatFileLine(entryOf('a', 'x')).toUpperCase())],
    ['a size with a leading zero', utf8(formatFileLine(entryOf('a', 'x')).replace(' 1 ', ' 01 '))],
    ['a size beyond 2^53', utf8(formatFileLine(entryOf('a', 'x')).replace(' 1 ', ' 9999999999999999 '))],
    ['a path out of the folder', utf8(formatFileLine(entryOf('../a', 'x')))],
    ['an empty line', utf8('\n')],
    ['bytes that are no UTF-8', Uint8Array.of(0xff, 0x0a)],
  ])('with %s is refused', (_what, bytes) => {
    expect(refusalOf(() => [...readFileList(bytes, 'sha512')])?.code).toBe('MALFORMED');
  });

  test('of another hash is refused', () => {
    expect(refusalOf(() => [...readFileList(list, 'sha384')])?.code).toBe('MALFORMED');
  });
});

test.each([
  ['0.cbor', { kind: 'record', seq: 0 }],
  [`12.${INSTANCE}.list`, { kind: 'list', seq: 12, segment: INSTANCE }],
  ['3.renewals.list', { kind: 'list', seq: 3, segment: 'renewals' }],
  ['3.15.tsr', { kind: 'timestamp', seq: 3, index: 15 }],
  ['3.16.tsr', undefined],
  ['03.cbor', undefined],
  ['3.cbor.tmp', undefined],
  ['../3.cbor', undefined],
  ['lock', undefined],
])('the name %s is %j', (name, expected) => {
  expect(parseRenewalName(name)).toEqual(expected);
});

test('no path of a list leads out of its folder', () => {
  const part = fc.stringMatching(/^[A-Za-z0-9._/-]{1,20}$/);
  fc.assert(
    fc.property(part, (path) => {
      if (!isFilePath(path)) return;
      expect(path.split('/')).not.toContain('..');
      expect(path.startsWith('/')).toBe(false);
    }),
    { numRuns: 500, seed: 20261121 },
  );
});
