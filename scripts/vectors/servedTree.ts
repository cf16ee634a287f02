import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import {
  encodeBundle,
  fullTiles,
  parseTile,
  partialTiles,
  TILE_WIDTH,
  tilePath,
} from '../../attestation/log/tiles.ts';
import type { LogFiles } from '../../src/log/storage.ts';
import { TileEdge } from '../../src/log/tileEdge.ts';
import { TileStore } from '../../src/log/tileStore.ts';

const sha256 = sha256With(nodeCrypto);

/** The log of these entries as the service has it, its files in memory. */
export function serveEntries(entries: readonly Uint8Array[]): TileStore {
  const files = new Map<string, Uint8Array>();
  const edge = new TileEdge(sha256);
  for (const entry of entries) {
    edge.append(entry);
    if (edge.room > 0) continue;
    const index = fullTiles(0, edge.size) - 1;
    for (const { path, bytes } of edge.fullTileFiles()) files.set(path, bytes);
    files.set(
      tilePath({ level: 'entries', index, width: TILE_WIDTH }),
      encodeBundle(edge.entriesOf(index) ?? []),
    );
    edge.release();
  }
  return new TileStore(filesOf(files), sha256, edge);
}

/** A log of which only the tiles are known, from those of its head. */
export function serveTiles(size: number, tiles: Readonly<Record<string, Uint8Array>>): TileStore {
  const levels: (readonly Uint8Array[] | undefined)[] = [];
  for (const { level, index, width } of partialTiles(size)) {
    const bytes = tiles[tilePath({ level, index, width })];
    if (bytes) levels[level] = parseTile(bytes, width);
  }
  const edge = new TileEdge(
    sha256,
    size,
    Array.from(levels, (hashes) => hashes ?? []),
  );
  return new TileStore(filesOf(new Map(Object.entries(tiles))), sha256, edge);
}

function filesOf(files: Map<string, Uint8Array>): LogFiles {
  return {
    name: 'memory',
    read: (path) => Promise.resolve(files.get(path)),
    has: (path) => Promise.resolve(files.has(path)),
    write: (path, bytes) => {
      files.set(path, bytes);
      return Promise.resolve();
    },
    names: () => Promise.resolve([]),
    removeFolder: () => Promise.resolve(),
    readJournal: () => Promise.resolve(new Uint8Array(0)),
  };
}
