import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, copyFile, link, lstat, mkdir, realpath, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HostingError } from '../hostingErrors.ts';
import { type Catalogue, readCatalogue, readSignature, resolveReference } from './catalogue.ts';
import { hashFile } from './hashing.ts';
import {
  FILES_FOLDER,
  type Layout,
  layoutOf,
  namesIn,
  RECORD_FILE,
  replaceSynced,
  SIGNATURE_FILE,
  syncFolder,
  unusable,
  writeSynced,
} from './layout.ts';
import { withLock } from './lock.ts';
import { isAlias, parseReference, referenceOf } from './names.ts';
import { encodeRecord, type ReleaseRecord } from './record.ts';
import { Staging, type StagedFile } from './staging.ts';

/** A release that is ready to become part of the store. */
export interface NewRelease {
  readonly record: ReleaseRecord;
  readonly files: readonly StagedFile[];
  readonly signature: Uint8Array | undefined;
}

/** Changes a release store. Made by `changeStore`, which holds the lock meanwhile. */
export class ReleaseStore {
  readonly directory: string;
  readonly #layout: Layout;

  constructor(directory: string) {
    this.directory = directory;
    this.#layout = layoutOf(directory);
  }

  read(): Promise<Catalogue> {
    return readCatalogue(this.directory);
  }

  /** Bytes of all contents, each counted once. */
  async usedBytes(): Promise<number> {
    let bytes = 0;
    for (const name of await namesIn(this.#layout.blobs)) {
      bytes += (await lstat(join(this.#layout.blobs, name))).size;
    }
    return bytes;
  }

  /** A place for the files of a release that is being fetched; gone when `work` ends, however it does. */
  async stage<T>(
    limits: { readonly maxBytes: number; readonly onBytes: (bytes: number) => void },
    work: (staging: Staging) => Promise<T>,
  ): Promise<T> {
    const folder = await this.#temporaryFolder();
    try {
      return await work(new Staging({ folder, blobs: this.#layout.blobs, ...limits }));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Makes a release part of the store, at once: before the rename it is not there, afterwards it is whole. */
  async commit(
    { record, files, signature }: NewRelease,
    /** Told where the files lie before they are part of the store; what it throws keeps them out. */
    check: (root: string) => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    const { blobs, releases } = this.#layout;
    const target = join(releases, referenceOf(record));
    if (await lstat(target).catch(() => undefined)) {
      throw new HostingError('RELEASE_EXISTS', `${referenceOf(record)} is in the store`);
    }
    const encoded = encodeRecord(record);
    for (const file of files) await this.#keep(file);
    await syncFolder(blobs);
    const folder = await this.#temporaryFolder();
    for (const file of files) await this.#place(file, join(folder, FILES_FOLDER, file.path));
    await check(join(folder, FILES_FOLDER));
    await writeSynced(join(folder, RECORD_FILE), encoded);
    if (signature) await writeSynced(join(folder, SIGNATURE_FILE), signature);
    for (const part of foldersOf(files)) await syncFolder(join(folder, FILES_FOLDER, part));
    await syncFolder(folder);
    await rename(folder, target);
    await syncFolder(releases);
  }

  /** Keeps a signature with a release that has none, and its signer in the record. The files stay as they are. */
  async sign(record: ReleaseRecord, signature: Uint8Array): Promise<void> {
    const encoded = encodeRecord(record);
    await this.#replace(join(this.#layout.releases, referenceOf(record), SIGNATURE_FILE), signature);
    await this.#replace(join(this.#layout.releases, referenceOf(record), RECORD_FILE), encoded);
  }

  signatureOf(record: ReleaseRecord): Promise<Uint8Array | undefined> {
    return readSignature(this.#layout, referenceOf(record));
  }

  /** Lets an alias mean a release from the next load on; `undefined` removes it. */
  async setAlias(alias: string, target: string | undefined): Promise<void> {
    const { aliases } = await this.read();
    const changed = new Map(aliases);
    if (target === undefined) changed.delete(alias);
    else {
      await this.requireFree(alias);
      parseReference(target);
      resolveReference(await this.read(), target);
      changed.set(alias, target);
    }
    const text = `${JSON.stringify(Object.fromEntries(changed), undefined, 2)}\n`;
    await this.#replace(this.#layout.aliases, Buffer.from(text));
  }

  /** Takes a release out of the store at once, and then its contents where no other release has them. */
  async remove(reference: string): Promise<void> {
    const gone = join(this.#layout.incoming, randomBytes(8).toString('hex'));
    await rename(join(this.#layout.releases, reference), gone);
    await syncFolder(this.#layout.releases);
    await this.sweep();
  }

  /** Removes what a command that was killed has left, and contents that no release has. */
  async sweep(): Promise<void> {
    const { incoming, blobs } = this.#layout;
    for (const name of await namesIn(incoming)) {
      await rm(join(incoming, name), { recursive: true, force: true });
    }
    const { records, broken } = await this.read();
    // Nobody knows what a release has whose record cannot be read.
    if (broken.size > 0) return;
    const used = new Set([...records.values()].flatMap(({ files }) => files.map(({ sha256 }) => sha256)));
    for (const name of await namesIn(blobs)) {
      if (!used.has(name)) await rm(join(blobs, name), { recursive: true, force: true });
    }
  }

  /** Whether a text can be an alias: it is a model id, and no folder or file of the store is called so. */
  async isFree(alias: string): Promise<boolean> {
    if (!isAlias(alias)) return false;
    const names = [alias, `${alias}.onnx`].map((name) => join(this.directory, name));
    const found = await Promise.all(names.map((path) => lstat(path).catch(() => undefined)));
    return found.every((entry) => entry === undefined);
  }

  async requireFree(alias: string): Promise<void> {
    if (await this.isFree(alias)) return;
    throw new HostingError('ALIAS_INVALID', `${JSON.stringify(alias)} cannot be an alias`);
  }

  async #replace(path: string, bytes: Uint8Array): Promise<void> {
    const temporary = join(this.#layout.incoming, `${randomBytes(8).toString('hex')}.json`);
    await replaceSynced(path, temporary, bytes);
  }

  async #temporaryFolder(): Promise<string> {
    const folder = join(this.#layout.incoming, randomBytes(8).toString('hex'));
    await mkdir(folder, { recursive: true });
    return folder;
  }

  /** What the store has under this digest is kept only where it still has it. */
  async #keep({ sha256, temporary }: StagedFile): Promise<void> {
    if (temporary === undefined) return;
    const blob = join(this.#layout.blobs, sha256);
    const found = await hashFile(blob).catch(() => undefined);
    if (found?.sha256 !== sha256) await rename(temporary, blob);
  }

  async #place({ sha256 }: StagedFile, path: string): Promise<void> {
    const blob = join(this.#layout.blobs, sha256);
    await mkdir(dirname(path), { recursive: true });
    try {
      await link(blob, path);
    } catch (error) {
      // Some file systems have no hard links, others a limit for each file.
      const { code = '' } = error as NodeJS.ErrnoException;
      if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'ENOSYS'].includes(code)) throw error;
      await copyFile(blob, path, constants.COPYFILE_EXCL);
      await chmod(path, 0o444);
    }
  }
}

/** Every folder of a release below its files, the top one included. */
function foldersOf(files: readonly StagedFile[]): ReadonlySet<string> {
  return new Set(
    files.flatMap(({ path }) => {
      const segments = path.split('/').slice(0, -1);
      return ['', ...segments.map((_, i) => segments.slice(0, i + 1).join('/'))];
    }),
  );
}

/** Changes the store of a folder as its only writer, after what a killed command left is swept away. */
export async function changeStore<T>(directory: string, work: (store: ReleaseStore) => Promise<T>): Promise<T> {
  const root = await prepare(directory);
  return withLock(layoutOf(root).locks, async () => {
    const store = new ReleaseStore(root);
    await store.sweep();
    return work(store);
  });
}

async function prepare(directory: string): Promise<string> {
  try {
    await mkdir(directory, { recursive: true });
    const root = await realpath(directory);
    const { blobs, releases, incoming, locks } = layoutOf(root);
    for (const folder of [blobs, releases, incoming, locks]) await mkdir(folder, { recursive: true });
    return root;
  } catch (error) {
    throw unusable(directory, error);
  }
}
