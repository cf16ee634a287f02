import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { ObjectStoreError } from '../objectStore/errors.ts';
import type { ObjectStore } from '../objectStore/objectStore.ts';
import { LogError, type LogErrorCode } from './errors.ts';
import { batchPath, bundlePath, FILE, journalFolder } from './layout.ts';
import type { FormerFiles } from './storage.ts';

/** Requests of one piece of work that run side by side. */
const AT_ONCE = 16;

/** The objects of one log. The state of the store is in the code: `LOG_UNAVAILABLE` where it cannot be asked now. */
export class ObjectFiles implements FormerFiles {
  readonly name: string;
  readonly #store: ObjectStore;
  /** End of the chain of removals. */
  #removals: Promise<void> = Promise.resolve();

  constructor(store: ObjectStore, prefix: string) {
    this.#store = store;
    this.name = prefix;
  }

  read(path: string): Promise<Uint8Array | undefined> {
    return this.#call(() => this.#store.get(this.#key(path)));
  }

  /** Bytes of a file; undefined where there is none. */
  length(path: string): Promise<number | undefined> {
    return this.#call(() => this.#store.length(this.#key(path)));
  }

  async has(path: string): Promise<boolean> {
    return (await this.length(path)) !== undefined;
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    await this.#call(() => this.#store.put(this.#key(path), bytes));
  }

  /** Writes a file that nobody else may have written; where one of other content is there, `code`. */
  async writeOnce(path: string, bytes: Uint8Array, code: LogErrorCode): Promise<void> {
    const result = await this.#call(() => this.#store.put(this.#key(path), bytes, { ifAbsent: true }));
    if (result === 'written') return;
    const found = await this.read(path);
    if (!found || !equalBytes(found, bytes)) {
      throw new LogError(code, `${this.name}/${path} was written by another process`);
    }
  }

  async names(folder: string): Promise<readonly string[]> {
    const names = await namesIn(this.#store, this.#key(folder));
    return names.filter((name) => !name.endsWith('/'));
  }

  /** In the background: nothing waits for what is superfluous, and what stays is no loss. */
  removeFolder(folder: string): Promise<void> {
    this.#removals = this.#removals.then(() => this.#removeNow(folder)).catch(() => undefined);
    return Promise.resolve();
  }

  /** Resolves when nothing is removed any more. */
  settle(): Promise<void> {
    return this.#removals;
  }

  async #removeNow(folder: string): Promise<void> {
    const names = await this.names(folder);
    await mapAtOnce(names, (name) => this.#call(() => this.#store.remove(this.#key(`${folder}/${name}`))));
  }

  async readJournal(bundle: number): Promise<Uint8Array> {
    const batches = await this.readBatches(bundle);
    return Buffer.concat(batches);
  }

  /** The batches of a bundle in order; a gap is `LOG_CORRUPT`. */
  async readBatches(bundle: number): Promise<readonly Uint8Array[]> {
    const folder = journalFolder(bundle);
    const names = await this.names(folder);
    const paths = names.map((_, batch) => batchPath(bundle, batch));
    if (names.some((name) => !paths.includes(`${folder}/${name}`))) {
      throw new LogError('LOG_CORRUPT', `${this.name}/${folder} lacks a batch`);
    }
    const batches = await mapAtOnce(paths, (path) => this.read(path));
    return batches.map((batch, i) => {
      if (!batch) throw new LogError('LOG_CORRUPT', `${this.name}/${paths[i] ?? ''} is gone`);
      return batch;
    });
  }

  /** A batch is there whole or not at all: one that is torn was damaged since. */
  cutJournal(bundle: number): Promise<void> {
    const place = `${this.name}/${journalFolder(bundle)}`;
    return Promise.reject(new LogError('LOG_CORRUPT', `${place} holds a damaged batch`));
  }

  async sealJournal(bundle: number): Promise<void> {
    await this.writeOnce(bundlePath(bundle), await this.readJournal(bundle), 'LOG_CORRUPT');
    await this.removeFolder(journalFolder(bundle));
    await this.settle();
  }

  async tidyJournals(bundle: number): Promise<void> {
    const names = await namesIn(this.#store, this.#key(FILE.journal));
    for (const name of names) {
      const folder = name.slice(0, -1);
      if (/^(0|[1-9][0-9]*)\/$/.test(name) && Number(folder) < bundle) {
        await this.removeFolder(`${FILE.journal}/${folder}`);
      }
    }
    await this.settle();
  }

  #key(path: string): string {
    return `${this.name}/${path}`;
  }

  async #call<Result>(work: () => Promise<Result>): Promise<Result> {
    return work().catch((error: unknown) => {
      throw toLogError(error, this.name);
    });
  }
}

/** The names below a folder; those of folders end with `/`. */
export async function namesIn(store: ObjectStore, folder: string): Promise<readonly string[]> {
  const names: string[] = [];
  try {
    for await (const name of store.names(folder)) names.push(name);
  } catch (error) {
    throw toLogError(error, folder);
  }
  return names;
}

/** Like `Promise.all` over `map`, with a bound on what runs at once. */
export async function mapAtOnce<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  const waiting = [...items.entries()].reverse();
  const next = async (): Promise<void> => {
    for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) {
      results[item[0]] = await work(item[1]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  return results;
}

function toLogError(error: unknown, place: string): unknown {
  if (!(error instanceof ObjectStoreError)) return error;
  const code = error.code === 'OBJECT_STORE_TOO_LARGE' ? 'LOG_CORRUPT' : 'LOG_UNAVAILABLE';
  return new LogError(code, `${place}: ${error.code}: ${error.message}`, error);
}
