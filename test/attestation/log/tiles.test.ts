import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { fromHex, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { parseCheckpoint } from '../../../attestation/log/checkpoint.ts';
import { rootOf } from '../../../attestation/log/memoryTree.ts';
import { leafHash } from '../../../attestation/log/merkle.ts';
import { parseNote } from '../../../attestation/log/note.ts';
import {
  bundleEnds,
  encodeBundle,
  encodeBundleEntry,
  fullTiles,
  parseBundle,
  parseTile,
  parseTilePath,
  partialTiles,
  partialWidth,
  tilePath,
} from '../../../attestation/log/tiles.ts';
import { describeCorpus } from '../../support/corpus.ts';

const sha256 = sha256With(nodeCrypto);

function codeOf(action: () => unknown): string {
  try {
    action();
    return 'accepted';
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

describeCorpus('tile vectors', 'standards/vectors/tlog', (directory) => {
  const read = (file: string): unknown => JSON.parse(readFileSync(join(directory, file), 'utf8'));
  const paths = read('tile-path.json') as {
    index_paths: { index: number; path: string }[];
    bad_paths: string[];
    sizes: { tree_size: number; tiles: Record<string, number> }[];
  };

  test.each(paths.index_paths)('index $index', ({ index, path }) => {
    const tile = { level: 0, index, width: 256 };
    expect(tilePath(tile)).toBe(`tile/0/${path}`);
    expect(parseTilePath(`tile/0/${path}`)).toEqual(tile);
  });

  test.each(paths.bad_paths)('refuses %s', (path) => {
    expect(codeOf(() => parseTilePath(path))).toBe('MALFORMED');
  });

  test.each(paths.sizes)('widths for $tree_size', ({ tree_size, tiles }) => {
    for (const [name, count] of Object.entries(tiles)) {
      const level = Number(/level(\d)/.exec(name)?.[1]);
      expect(name.endsWith('full') ? fullTiles(level, tree_size) : partialWidth(level, tree_size)).toBe(
        count,
      );
    }
  });

  test('tiles of a 300-entry tree hold the hashes of its leaves and give its root', () => {
    const mirror = read('sunlight-mirror.json') as { checkpoint: string; tiles: Record<string, string> };
    const leaves = Array.from({ length: 300 }, (_, i) => leafHash(sha256, utf8(`record ${i}`)));
    const { root } = parseCheckpoint(parseNote(utf8(mirror.checkpoint)).text);
    expect(toHex(rootOf(sha256, leaves))).toBe(toHex(root));
    const hashes = ['tile/0/000', 'tile/0/001.p/44'].flatMap((path) => {
      const tile = parseTilePath(path);
      return parseTile(fromHex(mirror.tiles[path]!), tile.width).map(toHex);
    });
    expect(hashes).toEqual(leaves.map(toHex));
    expect(mirror.tiles['tile/1/000.p/1']).toBe(toHex(rootOf(sha256, leaves.slice(0, 256))));
  });
});

describe('tile paths', () => {
  test.each([
    [{ level: 'entries', index: 0, width: 256 }, 'tile/entries/000'],
    [{ level: 'entries', index: 1000, width: 255 }, 'tile/entries/x001/000.p/255'],
    [{ level: 63, index: 999_999, width: 1 }, 'tile/63/x999/999.p/1'],
    [{ level: 0, index: 2 ** 53 - 1, width: 256 }, 'tile/0/x009/x007/x199/x254/x740/991'],
  ] as const)('%j', (tile, path) => {
    expect(tilePath(tile)).toBe(path);
    expect(parseTilePath(path)).toEqual(tile);
  });

  test.each([
    'tile/0/x000/001',
    'tile/0/x009/x007/x199/x254/x740/992',
    'tile/0/1',
    'tile/0/0001',
    'tile/0/../000',
    '/tile/0/000',
    'tile/0/000/',
    'tile/0/000\n',
    'tile/entries/000.p/',
    'tile/Entries/000',
    'tile/0/000.p/1.p/1',
    'checkpoint',
    '',
  ])('refuses %j', (path) => {
    expect(codeOf(() => parseTilePath(path))).toBe('MALFORMED');
  });

  test('partial tiles of a size, none of them empty', () => {
    expect(partialTiles(0)).toEqual([]);
    expect(partialTiles(256)).toEqual([{ level: 1, index: 0, width: 1 }]);
    expect(partialTiles(70_000)).toEqual([
      { level: 0, index: 273, width: 112 },
      { level: 1, index: 1, width: 17 },
      { level: 2, index: 0, width: 1 },
    ]);
  });
});

describe('entry bundles', () => {
  const entries = [utf8('one'), new Uint8Array(0), new Uint8Array(65_535).fill(3)];

  test('hold what they were given', () => {
    expect(parseBundle(encodeBundle(entries), 3)).toEqual(entries);
    expect(() => encodeBundleEntry(new Uint8Array(65_536))).toThrow(RangeError);
  });

  test('of another width, torn or trailing are refused', () => {
    const bytes = encodeBundle(entries);
    expect(codeOf(() => parseBundle(bytes, 2))).toBe('MALFORMED');
    expect(codeOf(() => parseBundle(bytes, 4))).toBe('MALFORMED');
    expect(codeOf(() => parseBundle(bytes.subarray(0, -1), 3))).toBe('MALFORMED');
  });

  test('the ends of complete entries show where a torn tail begins', () => {
    const bytes = encodeBundle([utf8('one'), utf8('three')]);
    for (let length = 5; length < bytes.length; length++) {
      expect(bundleEnds(bytes.subarray(0, length))).toEqual([5]);
    }
    expect(bundleEnds(bytes)).toEqual([5, 12]);
    expect(bundleEnds(new Uint8Array(2 * 300))).toHaveLength(256);
  });

  test('a tile is as many hashes as its width', () => {
    expect(codeOf(() => parseTile(new Uint8Array(64), 1))).toBe('MALFORMED');
    expect(parseTile(new Uint8Array(64), 2)).toHaveLength(2);
  });
});
