import { encodeBundle } from '../../attestation/log/tiles.ts';
import { isLogError, LogError } from './errors.ts';
import { batchPath, bundlePath, journalFolder } from './layout.ts';
import type { Journal } from './storage.ts';

/** What the journal needs of the objects of its log. */
export interface JournalObjects {
  readonly name: string;
  /** Bytes of an object; undefined where there is none. */
  length(path: string): Promise<number | undefined>;
  /** Refuses with `code` where an object of other content is there. */
  writeOnce(path: string, bytes: Uint8Array, code: 'LOG_DIVERGED'): Promise<void>;
  readBatches(bundle: number): Promise<readonly Uint8Array[]>;
  removeFolder(folder: string): Promise<void>;
}

/** An object that this process wrote. */
export interface WrittenObject {
  readonly path: string;
  readonly length: number;
}

/**
 * The open entry bundle in an object store: one object for each append, numbered from 0 in each bundle, and written only
 * where there is none. An append that was done and whose answer was lost finds its own object when it is repeated; what
 * another process wrote there is `LOG_DIVERGED`. Beside each append the object that was written before it must still
 * have its length.
 */
export class ObjectJournal implements Journal {
  readonly #objects: JournalObjects;
  #bundle = 0;
  #batches = 0;
  #newest: WrittenObject;

  /** `newest` is what was written last. */
  constructor(objects: JournalObjects, newest: WrittenObject) {
    this.#objects = objects;
    this.#newest = newest;
  }

  async append(bytes: Uint8Array): Promise<void> {
    const path = batchPath(this.#bundle, this.#batches);
    // Side by side: an append takes one round trip. Both have ended when it is tried again.
    const [checked, written] = await Promise.allSettled([
      this.check(),
      this.#objects.writeOnce(path, bytes, 'LOG_DIVERGED'),
    ]);
    if (checked.status === 'rejected') throw checked.reason;
    if (written.status === 'rejected') throw written.reason;
    this.#newest = { path, length: bytes.length };
    this.#batches++;
  }

  async check(): Promise<void> {
    const { path, length } = this.#newest;
    const found = await this.#objects.length(path);
    if (found === length) return;
    const now = found === undefined ? 'is gone' : `has ${found} bytes`;
    throw this.#diverged(`${path} ${now} where this process left ${length}`);
  }

  async read(): Promise<Uint8Array> {
    const batches = await this.#objects.readBatches(this.#bundle).catch((error: unknown) => {
      throw isLogError(error, 'LOG_CORRUPT') ? this.#diverged(error.message, error) : error;
    });
    if (batches.length !== this.#batches) {
      const detail = `${journalFolder(this.#bundle)} has ${batches.length} batches where this process left ${this.#batches}`;
      throw this.#diverged(detail);
    }
    await this.check();
    return Buffer.concat(batches);
  }

  async seal(entries: readonly Uint8Array[]): Promise<void> {
    const path = bundlePath(this.#bundle);
    const bytes = encodeBundle(entries);
    // Recovery elsewhere may have done the same and removed the appends: the bundle is what counts.
    await this.#objects.writeOnce(path, bytes, 'LOG_DIVERGED');
    await this.#objects.removeFolder(journalFolder(this.#bundle));
    this.#newest = { path, length: bytes.length };
    this.#bundle++;
    this.#batches = 0;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #diverged(detail: string, cause?: unknown): LogError {
    return new LogError('LOG_DIVERGED', `${this.#objects.name}: ${detail}`, cause);
  }
}
