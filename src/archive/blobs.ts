import { createHash, randomBytes } from 'node:crypto';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { toHex } from '../../attestation/bytes/bytes.ts';
import type { ObjectStore } from '../objectStore/objectStore.ts';
import { hasSystemCode } from '../errors/systemCode.ts';
import { makeFolder, syncFolder } from '../log/files.ts';
import { ArchiveError } from './errors.ts';

/** Bytes by their SHA-256. Who controls the place can take blobs away, not exchange them: `get` hashes. */
export interface BlobStore {
  /** Durable when it resolves. What is there already stays. */
  put(digest: Uint8Array, bytes: Uint8Array): Promise<void>;
  get(digest: Uint8Array): Promise<Uint8Array | undefined>;
  /** What is not there is removed already. */
  remove(digest: Uint8Array): Promise<void>;
}

export function digestOf(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest();
}

/** `<2 hex>/<2 hex>/<60 hex>`: 65,536 folders keep ten million blobs below 200 in each. */
function blobPath(digest: Uint8Array): string {
  const hex = toHex(digest);
  return `${hex.slice(0, 2)}/${hex.slice(2, 4)}/${hex.slice(4)}`;
}

function requireDigest(digest: Uint8Array, bytes: Uint8Array): Uint8Array {
  if (Buffer.compare(digestOf(bytes), digest) === 0) return bytes;
  throw new ArchiveError('BLOB_DAMAGED', `blob ${toHex(digest)} has other bytes`);
}

/** Blobs in a folder of this machine. A file has its name only once it is whole and synced. */
export class DiskBlobs implements BlobStore {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  put(digest: Uint8Array, bytes: Uint8Array): Promise<void> {
    return guarded(async () => {
      const path = this.#path(digest);
      if (await hasLength(path, bytes.length)) return;
      await makeFolder(dirname(path));
      // Several processes may write the same blob: each has a file of its own until it gets its name.
      const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
      try {
        await writeSynced(temporary, bytes);
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
      await syncFolder(dirname(path));
    });
  }

  get(digest: Uint8Array): Promise<Uint8Array | undefined> {
    return guarded(async () => {
      try {
        return requireDigest(digest, await readFile(this.#path(digest)));
      } catch (error) {
        if (hasSystemCode(error, 'ENOENT')) return undefined;
        throw error;
      }
    });
  }

  remove(digest: Uint8Array): Promise<void> {
    return guarded(async () => {
      const path = this.#path(digest);
      await rm(path, { force: true });
      await syncFolder(dirname(path)).catch((error: unknown) => {
        if (!hasSystemCode(error, 'ENOENT')) throw error;
      });
    });
  }

  #path(digest: Uint8Array): string {
    return join(this.#directory, blobPath(digest));
  }
}

/** A file has its name only once it is whole, so that its length tells one that is damaged by and large. */
async function hasLength(path: string, length: number): Promise<boolean> {
  try {
    return (await stat(path)).size === length;
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return false;
    throw error;
  }
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export interface ObjectBlobOptions {
  /** Under the store's own prefix. */
  readonly prefix: string;
  /** How long the object store itself keeps each blob from being removed; undefined where it does not. */
  readonly lockDays: number | undefined;
  readonly now: () => number;
}

const DAY_MS = 86_400_000;

/** Blobs in an object store, which several nodes share. */
export class ObjectBlobs implements BlobStore {
  readonly #store: ObjectStore;
  readonly #options: ObjectBlobOptions;

  constructor(store: ObjectStore, options: ObjectBlobOptions) {
    this.#store = store;
    this.#options = options;
  }

  put(digest: Uint8Array, bytes: Uint8Array): Promise<void> {
    const { lockDays, now } = this.#options;
    const retainUntil = lockDays === undefined ? undefined : new Date(now() + lockDays * DAY_MS);
    return guarded(async () => {
      await this.#store.put(this.#key(digest), bytes, {
        ifAbsent: true,
        ...(retainUntil && { retainUntil }),
      });
    });
  }

  get(digest: Uint8Array): Promise<Uint8Array | undefined> {
    return guarded(async () => {
      const bytes = await this.#store.get(this.#key(digest));
      return bytes && requireDigest(digest, bytes);
    });
  }

  remove(digest: Uint8Array): Promise<void> {
    return guarded(() => this.#store.remove(this.#key(digest)));
  }

  #key(digest: Uint8Array): string {
    return `${this.#options.prefix}${blobPath(digest)}`;
  }
}

async function guarded<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ArchiveError) throw error;
    const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
    const reason = typeof code === 'string' ? code : String(message);
    throw new ArchiveError('BLOBS_UNAVAILABLE', `a blob cannot be read or written: ${reason}`, error);
  }
}
