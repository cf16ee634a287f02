import { ClientError } from './errors.ts';
import {
  DEFAULT_STORE_BYTES,
  requireId,
  sizeOf,
  storeFull,
  type ReceiptRecord,
  type ReceiptStore,
  type StoreLimits,
} from './receiptStore.ts';

const VERSION = 1;
const RECORDS = 'records';
/** One number under one key, counted in the transaction that writes a record: pages share a database. */
const TOTAL = 'total';
const BYTES = 'bytes';

/** Keeps receipts in a browser, for its origin: every script of that origin can read them. */
export class IndexedDbReceiptStore implements ReceiptStore {
  readonly #database: IDBDatabase;
  readonly #maxBytes: number;

  private constructor(database: IDBDatabase, maxBytes: number) {
    this.#database = database;
    this.#maxBytes = maxBytes;
  }

  /** Opens a database by its name and makes it where there is none. Throws `STORE_FAILED` where it cannot. */
  static async open(
    name = 'vouchsafe-receipts',
    { maxBytes = DEFAULT_STORE_BYTES }: StoreLimits = {},
  ): Promise<IndexedDbReceiptStore> {
    if (typeof indexedDB === 'undefined') throw failed('there is no IndexedDB here');
    const request = indexedDB.open(name, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(RECORDS, { keyPath: 'id' });
      request.result.createObjectStore(TOTAL);
    };
    const database = await resultOf(request);
    // Another page wants to delete the database, or make it anew: it waits for those who hold it open.
    database.onversionchange = () => {
      database.close();
    };
    return new IndexedDbReceiptStore(database, maxBytes);
  }

  async put(record: ReceiptRecord): Promise<void> {
    requireId(record.id);
    await this.#write(async (records, total) => {
      const [before, bytes] = await Promise.all([read(records, record.id), readTotal(total)]);
      const after = bytes + sizeOf(record) - (before ? sizeOf(before) : 0);
      if (after > this.#maxBytes) throw storeFull(this.#maxBytes);
      records.put(record);
      total.put(after, BYTES);
    });
  }

  async get(id: string): Promise<ReceiptRecord | undefined> {
    return read(this.#database.transaction(RECORDS).objectStore(RECORDS), id);
  }

  /** In no order that means something. */
  async ids(): Promise<readonly string[]> {
    const keys = await resultOf(this.#database.transaction(RECORDS).objectStore(RECORDS).getAllKeys());
    return keys.filter((key) => typeof key === 'string');
  }

  async delete(id: string): Promise<void> {
    await this.#write(async (records, total) => {
      const [before, bytes] = await Promise.all([read(records, id), readTotal(total)]);
      if (!before) return;
      records.delete(id);
      total.put(bytes - sizeOf(before), BYTES);
    });
  }

  close(): void {
    this.#database.close();
  }

  /** All of it happens, or nothing. */
  async #write(work: (records: IDBObjectStore, total: IDBObjectStore) => Promise<void>): Promise<void> {
    const options = { durability: 'strict' } as const;
    const transaction = this.#database.transaction([RECORDS, TOTAL], 'readwrite', options);
    const done = doneOf(transaction);
    try {
      await work(transaction.objectStore(RECORDS), transaction.objectStore(TOTAL));
    } catch (error) {
      done.catch(() => undefined);
      abort(transaction);
      throw error;
    }
    await done;
  }
}

function abort(transaction: IDBTransaction): void {
  try {
    transaction.abort();
  } catch {
    // What failed ended it already.
  }
}

function read(records: IDBObjectStore, id: string): Promise<ReceiptRecord | undefined> {
  return resultOf(records.get(id) as IDBRequest<ReceiptRecord | undefined>);
}

async function readTotal(total: IDBObjectStore): Promise<number> {
  const bytes = await resultOf(total.get(BYTES) as IDBRequest<unknown>);
  return typeof bytes === 'number' ? bytes : 0;
}

function resultOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => {
      resolve(request.result);
    };
    request.onerror = () => {
      reject(errorOf(request.error));
    };
  });
}

function doneOf(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => {
      resolve();
    };
    transaction.onabort = () => {
      reject(errorOf(transaction.error));
    };
  });
}

function errorOf(error: DOMException | null): ClientError {
  if (error?.name !== 'QuotaExceededError') return failed('the browser kept nothing', error);
  return new ClientError('STORE_FULL', 'the browser gives this page no more room', { cause: error });
}

function failed(message: string, cause?: unknown): ClientError {
  return new ClientError('STORE_FAILED', message, { cause });
}
