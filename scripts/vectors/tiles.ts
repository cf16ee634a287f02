import { z } from 'zod';
import { toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { parseCheckpoint, verifyCheckpoint } from '../../attestation/log/checkpoint.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import { parseNote } from '../../attestation/log/note.ts';
import {
  fullTiles,
  parseBundle,
  parseTile,
  parseTilePath,
  partialWidth,
  TILE_WIDTH,
  tilePath,
} from '../../attestation/log/tiles.ts';
import { parseVkey } from '../../attestation/log/vkey.ts';
import { Disagreement, expectEqual, expectRefused, PROVIDERS, type Case, type Family } from './family.ts';
import { checkCosignature } from './notes.ts';
import type { TileStore } from '../../src/log/tileStore.ts';
import { serveEntries, serveTiles } from './servedTree.ts';
import { hasMembers, hexSchema, sizeSchema } from './vectorFile.ts';

const sha256 = sha256With(nodeCrypto);

const pathSchema = z.object({
  index_paths: z.array(z.object({ index: sizeSchema, path: z.string() })),
  bad_paths: z.array(z.string()),
  sizes: z.array(z.object({ tree_size: sizeSchema, tiles: z.record(z.string(), sizeSchema) })),
});

const filesSchema = z.record(z.string(), hexSchema);
const logSchema = z.object({
  origin: z.string(),
  vkey: z.string(),
  checkpoints: z.record(z.string(), z.string()),
  tiles: filesSchema,
  entry_bundles: filesSchema,
});
const mirrorSchema = z.object({
  origin: z.string(),
  cosigner_vkey: z.string(),
  checkpoint: z.string(),
  tiles: filesSchema,
});
type Files = z.infer<typeof filesSchema>;

/** Paths and widths of C2SP tlog-tiles. */
export const tilePathFamily: Family = {
  claims: ({ path, json }) =>
    hasMembers(json, 'index_paths', 'bad_paths') || /(?:^|\/)tile-path\.json$/.test(path),
  cases: ({ json }) => {
    const { index_paths, bad_paths, sizes } = pathSchema.parse(json);
    return [
      ...index_paths.map(({ index, path }) => ({
        name: path,
        check: () => {
          checkPath(index, path);
        },
      })),
      ...bad_paths.map((path) => ({
        name: path,
        check: () => expectRefused(() => parseTilePath(path), 'the path'),
      })),
      ...sizes.flatMap(({ tree_size, tiles }) => widthCases(tree_size, tiles)),
    ];
  },
};

function checkPath(index: number, path: string): void {
  const tile = { level: 0, index, width: TILE_WIDTH };
  expectEqual(tilePath(tile), `tile/0/${path}`, 'the path');
  expectEqual(parseTilePath(`tile/0/${path}`).index, index, 'the index');
}

function widthCases(size: number, widths: Readonly<Record<string, number>>): readonly Case[] {
  return Object.entries(widths).map(([member, expected]): Case => {
    const name = `${member} of ${size}`;
    const [, level, kind] = /^level(\d+)_(full|partial_width)$/.exec(member) ?? [];
    if (level === undefined) return { name, skip: 'an unknown member' };
    const count = kind === 'full' ? fullTiles : partialWidth;
    return {
      name,
      check: () => {
        expectEqual(count(Number(level), size), expected, member);
      },
    };
  });
}

/** A tiled log: its checkpoints are signed, and tiles and entries lead to their roots. */
export const logFamily: Family = {
  claims: ({ path, json }) =>
    hasMembers(json, 'checkpoints', 'tiles') || /(?:^|\/)tessera-log\.json$/.test(path),
  cases: ({ json }) => {
    const { origin, vkey, checkpoints, tiles, entry_bundles } = logSchema.parse(json);
    return [
      ...Object.entries(checkpoints).map(([size, text]) => ({
        name: `checkpoint ${size}`,
        check: () => checkSigned(origin, vkey, Number(size), text),
      })),
      ...Object.values(checkpoints).map((text, i) => rootCase(`root ${i}`, tiles, text)),
      ...tileCases(tiles),
      ...Object.entries(entry_bundles).map(([path, bytes]) => bundleCase(tiles, path, bytes)),
      ...servedLogCases({ ...tiles, ...entry_bundles }, Object.values(checkpoints)),
    ];
  },
};

/** A mirror of a log: a cosigned checkpoint and the tiles below it. */
export const mirrorFamily: Family = {
  claims: ({ path, json }) =>
    hasMembers(json, 'cosigner_vkey', 'tiles') || /(?:^|\/)sunlight-mirror\.json$/.test(path),
  cases: ({ json }) => {
    const { origin, cosigner_vkey, checkpoint, tiles } = mirrorSchema.parse(json);
    const checkOrigin = (): void => {
      expectEqual(parseCheckpoint(parseNote(utf8(checkpoint)).text).origin, origin, 'the origin');
    };
    return [
      { name: 'origin', check: checkOrigin },
      { name: 'cosignature', check: () => checkCosignature(cosigner_vkey, checkpoint) },
      rootCase('root', tiles, checkpoint),
      ...tileCases(tiles),
      ...servedCases(serveTiles(sizeOf(checkpoint), tiles), tiles, [checkpoint]),
    ];
  },
};

async function checkSigned(origin: string, vkey: string, size: number, text: string): Promise<void> {
  const { publicKey } = parseVkey(vkey, sha256);
  for (const provider of PROVIDERS) {
    const checkpoint = await verifyCheckpoint(utf8(text), origin, publicKey, provider);
    expectEqual(checkpoint.size, size, 'the size');
    const altered = utf8(text.replace('\n', '\n1'));
    await expectRefused(
      () => verifyCheckpoint(altered, origin, publicKey, provider),
      'an altered checkpoint',
    );
  }
}

function rootCase(name: string, files: Files, checkpoint: string): Case {
  const check = (): void => {
    const { size, root } = parseCheckpoint(parseNote(utf8(checkpoint)).text);
    expectEqual(toHex(rootOf(sha256, hashesBelow(files, 0, size))), toHex(root), 'the root over the tiles');
  };
  return { name, check };
}

/** The first `count` hashes of a level, from its tiles. */
function hashesBelow(files: Files, level: number, count: number): readonly Uint8Array[] {
  const hashes: Uint8Array[] = [];
  for (let index = 0; hashes.length < count; index++) {
    const wanted = Math.min(TILE_WIDTH, count - hashes.length);
    hashes.push(...widestTile(files, level, index, wanted).slice(0, wanted));
  }
  return hashes;
}

function widestTile(files: Files, level: number, index: number, wanted: number): readonly Uint8Array[] {
  for (let width = TILE_WIDTH; width >= wanted; width--) {
    const bytes = files[tilePath({ level, index, width })];
    if (bytes) return parseTile(bytes, width);
  }
  throw new Disagreement(`no tile ${index} of level ${level} holds ${wanted} hashes`);
}

/** Every tile is as wide as its path says; those above level 0 hold the roots of the full tiles below. */
function tileCases(files: Files): readonly Case[] {
  return Object.entries(files).map(([path, bytes]): Case => {
    const check = (): void => {
      const { level, index, width } = parseTilePath(path);
      const hashes = parseTile(bytes, width);
      if (typeof level !== 'number' || level === 0) return;
      hashes.forEach((hash, i) => {
        const below = widestTile(files, level - 1, index * TILE_WIDTH + i, TILE_WIDTH);
        expectEqual(toHex(hash), toHex(rootOf(sha256, below)), `hash ${i}`);
      });
    };
    return { name: path, check };
  });
}

/** The same entries in the log of the service give the same files, byte for byte, and the same roots. */
function servedLogCases(files: Files, checkpoints: readonly string[]): readonly Case[] {
  return servedCases(serveEntries(entriesIn(files)), files, checkpoints);
}

function servedCases(served: TileStore, files: Files, checkpoints: readonly string[]): readonly Case[] {
  const tiles = Object.entries(files).map(([path, bytes]): Case => {
    const check = async (): Promise<void> => {
      const found = await served.tile(path);
      expectEqual(found && toHex(found), toHex(bytes), 'the served file');
    };
    return { name: `served ${path}`, check };
  });
  const roots = checkpoints.map((text): Case => {
    const { size, root } = parseCheckpoint(parseNote(utf8(text)).text);
    const check = async (): Promise<void> => {
      expectEqual(toHex(await served.root(size)), toHex(root), 'the served root');
    };
    return { name: `served root ${size}`, check };
  });
  return [...tiles, ...roots];
}

function sizeOf(checkpoint: string): number {
  return parseCheckpoint(parseNote(utf8(checkpoint)).text).size;
}

/** All entries, from the widest bundle of each index. */
function entriesIn(files: Files): readonly Uint8Array[] {
  const entries: Uint8Array[] = [];
  for (;;) {
    const index = entries.length / TILE_WIDTH;
    const widths = Object.keys(files).flatMap((path) => {
      const tile = parseTilePath(path);
      return tile.level === 'entries' && tile.index === index ? [tile.width] : [];
    });
    const width = Math.max(0, ...widths);
    const bytes = files[tilePath({ level: 'entries', index, width })];
    if (bytes) entries.push(...parseBundle(bytes, width));
    if (width < TILE_WIDTH) return entries;
  }
}

function bundleCase(files: Files, path: string, bytes: Uint8Array): Case {
  const check = (): void => {
    const { index, width } = parseTilePath(path);
    const hashes = widestTile(files, 0, index, width);
    parseBundle(bytes, width).forEach((entry, i) => {
      expectEqual(toHex(leafHash(sha256, entry)), toHex(hashes[i] ?? new Uint8Array(0)), `entry ${i}`);
    });
  };
  return { name: path, check };
}
