import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { foldRoots } from '../../attestation/log/frontier.ts';
import { MemoryTree } from '../../attestation/log/memoryTree.ts';
import {
  completeSubtrees,
  consistencyRanges,
  inclusionRanges,
  type LeafRange,
  type Subtree,
} from '../../attestation/log/subtrees.ts';
import { parseTile, TILE_HEIGHT, TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';
import { ArchiveError } from './errors.ts';
import { type FilesParts, partialPaths, readFile, widthOf } from './files.ts';

const sha256 = sha256With(nodeCrypto);

/**
 * Proofs from the mirrored tiles of one log. Tiles are what the blobs give: a wrong one makes a proof that no verifier
 * takes. One object serves one answer, and reads each tile once.
 */
export class ArchivedTree {
  readonly #parts: FilesParts;
  readonly #instance: string;
  readonly #tiles = new Map<string, Promise<MemoryTree>>();

  constructor(parts: FilesParts, instance: string) {
    this.#parts = parts;
    this.#instance = instance;
  }

  inclusionProof(index: number, size: number): Promise<readonly Uint8Array[]> {
    return this.#roots(inclusionRanges(index, size));
  }

  consistencyProof(size1: number, size2: number): Promise<readonly Uint8Array[]> {
    return this.#roots(consistencyRanges(size1, size2));
  }

  #roots(ranges: readonly LeafRange[]): Promise<readonly Uint8Array[]> {
    return Promise.all(ranges.map((range) => this.#rangeRoot(range)));
  }

  async #rangeRoot(range: LeafRange): Promise<Uint8Array> {
    const roots = await Promise.all(completeSubtrees(range).map((subtree) => this.#subtreeRoot(subtree)));
    return foldRoots(sha256, roots);
  }

  async #subtreeRoot({ level, index }: Subtree): Promise<Uint8Array> {
    const inTile = level % TILE_HEIGHT;
    const perTile = 2 ** (TILE_HEIGHT - inTile);
    const tree = await this.#tree(Math.floor(level / TILE_HEIGHT), Math.floor(index / perTile));
    const root = tree.subtreeRoot(inTile, index % perTile);
    if (!root) throw missing(`subtree ${index} of level ${level}`);
    return root;
  }

  #tree(level: number, index: number): Promise<MemoryTree> {
    const path = tilePath({ level, index, width: TILE_WIDTH });
    const known = this.#tiles.get(path) ?? this.#readTree(path);
    this.#tiles.set(path, known);
    return known;
  }

  async #readTree(full: string): Promise<MemoryTree> {
    const whole = await readFile(this.#parts, this.#instance, full);
    if (whole) return new MemoryTree(sha256, parseTile(whole, TILE_WIDTH));
    const [widest] = await partialPaths(this.#parts, this.#instance, full);
    const bytes = widest === undefined ? undefined : await readFile(this.#parts, this.#instance, widest);
    if (widest === undefined || !bytes) throw missing(full);
    return new MemoryTree(sha256, parseTile(bytes, widthOf(widest)));
  }
}

function missing(what: string): ArchiveError {
  return new ArchiveError('NOT_FOUND', `the archive does not have ${what} yet`);
}
