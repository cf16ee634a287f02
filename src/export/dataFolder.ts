import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import { bundleEnds, parseTilePath, TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';
import { hasSystemCode } from '../errors/systemCode.ts';
import { ExportError } from './errors.ts';
import { readNow } from './files.ts';
import { byCodeUnits, INSTANCES, isInstancePath } from './paths.ts';
import { snapshotOf } from './snapshot.ts';
import { openSharedFolder } from './sharedFiles.ts';
import type { ArchiveSource, InstanceFiles } from './source.ts';

const JOURNAL = 'journal';
const sha256 = sha256With(nodeCrypto);

/** The instances of a data folder, live or stopped, oldest first. A folder without an origin never was a log. */
export function openDataFolder(data: string): ArchiveSource {
  return {
    async instances() {
      const found: InstanceFiles[] = [];
      for (const name of await namesIn(join(data, INSTANCES))) {
        const files = /^[0-9a-f]{32}$/.test(name)
          ? openInstance(join(data, INSTANCES, name), name)
          : undefined;
        // Opened anew for each look: the open bundle is read once.
        if (files) found.push(snapshotOf(() => openInstance(join(data, INSTANCES, name), name) ?? files));
      }
      return found.sort((a, b) => a.created - b.created || byCodeUnits(a.instance, b.instance));
    },
    shared: openSharedFolder(data),
    close: () => Promise.resolve(),
  };
}

function openInstance(directory: string, instance: string): InstanceFiles | undefined {
  const [origin, created] = [line(directory, 'origin'), line(directory, 'created')];
  if (origin === undefined) return undefined;
  if (created === undefined || !/^[1-9][0-9]{0,14}$/.test(created)) {
    throw new ExportError('SOURCE_DAMAGED', `${directory}: the file created is missing or no number`);
  }
  const open = new OpenBundle(directory);
  return {
    instance,
    origin,
    created: Number(created),
    async *paths() {
      const extra = await open.path();
      const paths = walk(directory, '');
      let pending = extra;
      for await (const path of paths) {
        if (pending !== undefined && pending < path) {
          yield pending;
          pending = undefined;
        }
        if (path !== extra) yield path;
      }
      if (pending !== undefined) yield pending;
    },
    async read(path) {
      if (!isInstancePath(path)) return undefined;
      return (await open.read(path)) ?? readNow(join(directory, path));
    },
  };
}

/** The open entry bundle, which the writer of the log keeps in its journal: read once, so that one export is of one state. */
class OpenBundle {
  readonly #directory: string;
  #found: Promise<{ readonly path: string; readonly bytes: Uint8Array } | undefined> | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async path(): Promise<string | undefined> {
    return (await this.#bundle())?.path;
  }

  /** A copy: readers may write into what they get. */
  async read(path: string): Promise<Uint8Array | undefined> {
    const bundle = await this.#bundle();
    return bundle?.path === path ? bundle.bytes.slice() : undefined;
  }

  #bundle() {
    this.#found ??= this.#read();
    return this.#found;
  }

  async #read(): Promise<{ readonly path: string; readonly bytes: Uint8Array } | undefined> {
    // A journal that is full takes its final name: where no bundle of this number is there after it was read, it was
    // this one. A writer may have been faster than the look at the folder before.
    for (let index = await this.#fullBundles(); ; index++) {
      const journal = readNow(join(this.#directory, JOURNAL));
      if (await this.#isThere(bundlePath(index, TILE_WIDTH))) continue;
      const ends = bundleEnds(journal ?? new Uint8Array(0));
      const [end] = ends;
      if (!journal || end === undefined) return undefined;
      const isHashed = ends.length === TILE_WIDTH && this.#isFirstOf(index - 1, journal.subarray(2, end));
      const path = bundlePath(isHashed ? index - 1 : index, ends.length);
      return { path, bytes: journal.subarray(0, ends.at(-1)) };
    }
  }

  #isThere(path: string): Promise<boolean> {
    return access(join(this.#directory, path)).then(
      () => true,
      () => false,
    );
  }

  /** The tile of a bundle is written before the journal takes its name. */
  #isFirstOf(index: number, entry: Uint8Array): boolean {
    if (index < 0) return false;
    const tile = readNow(join(this.#directory, tilePath({ level: 0, index, width: TILE_WIDTH })));
    return tile !== undefined && equalBytes(tile.subarray(0, 32), leafHash(sha256, entry));
  }

  /** Behind the last one: retention may have taken entries from before it, whose hashes stay. */
  async #fullBundles(): Promise<number> {
    let bundles = 0;
    for (const folder of ['tile/entries/', 'tile/0/']) {
      for await (const path of walk(this.#directory, folder)) {
        const { index, width } = parseTilePath(path);
        if (width === TILE_WIDTH) bundles = Math.max(bundles, index + 1);
      }
    }
    return bundles;
  }
}

function bundlePath(index: number, width: number): string {
  return tilePath({ level: 'entries', index, width });
}

/** Files below a folder, sorted by their whole paths: a folder stands where its name with a slash would. */
async function* walk(directory: string, below: string): AsyncGenerator<string> {
  const entries = await readdir(join(directory, below), { withFileTypes: true }).catch(ifAbsent);
  const names = entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name));
  for (const name of names.sort(byCodeUnits)) {
    const path = below + name;
    if (name.endsWith('/')) yield* walk(directory, path);
    else if (isInstancePath(path)) yield path;
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  return readdir(directory).catch((error: unknown) => {
    throw new ExportError('EXPORT_UNREADABLE', `${directory} is no folder of instances`, error);
  });
}

function ifAbsent(error: unknown): [] {
  if (hasSystemCode(error, 'ENOENT') || hasSystemCode(error, 'ENOTDIR')) return [];
  throw error;
}

function line(directory: string, name: string): string | undefined {
  const bytes = readNow(join(directory, name));
  return bytes && /^([^\n]+)\n$/.exec(Buffer.from(bytes).toString('utf8'))?.[1];
}
