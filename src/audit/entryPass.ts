import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { TILE_WIDTH } from '../../attestation/log/tiles.ts';
import { BundleTree } from './bundleTree.ts';
import type { EntryReader } from './entryReader.ts';
import type { FindingList } from './findings.ts';
import { giveBundle, giveTile, readTile, type ListedInstance } from './instanceFiles.ts';
import { addCounts, addMissing, type EntryProgress } from './progress.ts';
import type { BundleFacts, BundleTask } from './tasks.ts';
import type { Workers } from './workers.ts';

const sha256 = sha256With(nodeCrypto);

/** Bundles of one task: 8 of them have some 2 MB and take 6 ms. */
const TOGETHER = 8;

export interface EntryPass {
  readonly listed: ListedInstance;
  readonly workers: Workers;
  readonly progress: EntryProgress;
  readonly findings: FindingList;
  /** Reads what bundles say, in order. */
  readonly reader: EntryReader;
  /** Entries that are there or should be. */
  readonly size: number;
  readonly sizes: WantedSizes;
  /** Signatures of receipts from this index on are verified. */
  readonly verifyFrom: number;
  /** Called after the bundles of each task, with the bytes read for them; may take its time, as saving a state does. */
  readonly onBundles: (bytes: number) => Promise<void>;
}

/** Sizes at which the root is wanted, by the bundle in which each ends. */
export class WantedSizes {
  readonly #byBundle = new Map<number, Set<number>>();

  constructor(sizes: Iterable<number>) {
    for (const size of sizes) {
      if (size === 0) continue;
      const bundle = Math.floor((size - 1) / TILE_WIDTH);
      const counts = this.#byBundle.get(bundle) ?? new Set();
      this.#byBundle.set(bundle, counts.add(size - bundle * TILE_WIDTH));
    }
  }

  /** Numbers of leading entries of a bundle, of at most `width`, and not the whole of a full one. */
  inside(bundle: number, width: number): readonly number[] {
    return [...(this.#byBundle.get(bundle) ?? [])].filter((count) => count <= width && count < TILE_WIDTH);
  }

  /** Whether one ends with the bundle. */
  atEnd(bundle: number): boolean {
    return this.#byBundle.get(bundle)?.has(TILE_WIDTH) ?? false;
  }
}

interface Loaded {
  readonly bundle: number;
  readonly width: number;
  /** Undefined where the entries are not there. */
  readonly facts: BundleFacts | undefined;
}

/** Goes through all bundles in order, a few ahead in the workers, and computes the tree over them. */
export async function passEntries(pass: EntryPass): Promise<void> {
  const { progress, size, workers } = pass;
  const total = Math.ceil(size / TILE_WIDTH);
  const tree = new BundleTree({ bundles: progress.bundles, roots: progress.roots });
  const ahead: Promise<readonly Loaded[]>[] = [];
  let next = progress.bundles;
  let goesOn = true;
  while (goesOn && progress.bundles < total) {
    while (next < total && ahead.length < workers.width) {
      const end = Math.min(next + TOGETHER, total);
      const loading = load(pass, next, end);
      // Its failure is met when its turn comes.
      loading.catch(() => undefined);
      ahead.push(loading);
      next = end;
    }
    const group = await ahead.shift();
    if (!group) break;
    let bytes = 0;
    for (const loaded of group) {
      goesOn = await take(pass, tree, loaded);
      progress.bundles++;
      bytes += loaded.facts?.size ?? 0;
      if (!goesOn) break;
    }
    progress.roots = tree.state.roots;
    await pass.onBundles(bytes);
  }
  await Promise.allSettled(ahead);
}

/** Bundles from `from` up to `to`, which is left out, in one task. */
async function load(pass: EntryPass, from: number, to: number): Promise<readonly Loaded[]> {
  const tasks: (BundleTask | undefined)[] = [];
  for (let bundle = from; bundle < to; bundle++) tasks.push(await makeTask(pass, bundle));
  const bundles = tasks.filter((task) => task !== undefined);
  const result = await pass.workers.run({ kind: 'bundles', bundles });
  if (result.kind !== 'bundles') throw new TypeError('a worker answered another task');
  const facts = result.facts.values();
  return tasks.map((task, i) => ({
    bundle: from + i,
    width: task?.width ?? 0,
    facts: task && facts.next().value,
  }));
}

/** Undefined where the entries are not there. */
async function makeTask(
  { listed, sizes, verifyFrom }: EntryPass,
  bundle: number,
): Promise<BundleTask | undefined> {
  const found = await giveBundle(listed, bundle);
  if (!found) return undefined;
  const { file, width } = found;
  // Where a log grew while it was listed, the tile of a full bundle may still be that of a former checkpoint.
  const isWhole = width === TILE_WIDTH && listed.tileWidths.get(`0/${bundle}`) === width;
  const tile = isWhole ? await giveTile(listed, bundle) : undefined;
  const partialRoots = sizes.inside(bundle, width);
  return { file, first: bundle * TILE_WIDTH, width, verifyFrom, partialRoots, tile };
}

/** False where the tree cannot be computed any further. */
async function take(pass: EntryPass, tree: BundleTree, { bundle, facts, width }: Loaded): Promise<boolean> {
  const { findings, progress, reader } = pass;
  const first = bundle * TILE_WIDTH;
  if (facts) {
    addCounts(progress, facts, width);
    findings.addAll(facts.findings);
    reader.read(facts, progress, findings);
    for (const [count, root] of facts.partialRoots) progress.rootAt[first + count] = toHex(tree.root(root));
  } else addMissing(progress, bundle);
  const isLast = first + TILE_WIDTH > pass.size;
  const root =
    (width === TILE_WIDTH ? facts?.root : undefined) ?? (await fromTiles(pass, tree, bundle, !facts?.root));
  if (root) tree.append(root);
  else if (!isLast && !(facts?.root && first + width >= pass.size)) {
    const detail = `neither the entries from ${first} on nor their hashes are there`;
    findings.add({ check: 'log.tree', code: 'FILE_MISSING', severity: 'fail', index: first, detail });
    return false;
  }
  if (root && pass.sizes.atEnd(bundle)) progress.rootAt[first + TILE_WIDTH] = toHex(tree.root());
  return true;
}

/** The root over a bundle whose entries are not there, from the tiles of hashes; the roots inside it with them. */
async function fromTiles(
  { listed, progress, sizes }: EntryPass,
  tree: BundleTree,
  bundle: number,
  withInside: boolean,
): Promise<Uint8Array | undefined> {
  const first = bundle * TILE_WIDTH;
  const leaves = await readTile(listed, 0, bundle);
  if (leaves && withInside) {
    for (const count of sizes.inside(bundle, leaves.length)) {
      progress.rootAt[first + count] = toHex(tree.root(rootOf(sha256, leaves.slice(0, count))));
    }
  }
  const above = await readTile(listed, 1, Math.floor(bundle / TILE_WIDTH));
  const named = above?.[bundle % TILE_WIDTH];
  if (named) return named;
  return leaves?.length === TILE_WIDTH ? rootOf(sha256, leaves) : undefined;
}
