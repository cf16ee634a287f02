import { ClientError } from './errors.ts';

/** What proves one answer later: whoever must prove content keeps the content and `k`. */
export interface ReceiptRecord {
  /** Of the receipt, 32 lower-case hex digits. */
  readonly id: string;
  /** When the answer was accepted, milliseconds since 1970, by the client's clock. */
  readonly time: number;
  /** With query, as inside the seal. */
  readonly path: string;
  /** HTTP status inside the seal. */
  readonly status: number;
  readonly contentType: string;
  /** 32 bytes. */
  readonly nonce: Uint8Array;
  /** Commitment key, 32 bytes. */
  readonly k: Uint8Array;
  readonly request: Uint8Array;
  /** Body of the answer; of a stream, all its bytes. */
  readonly response: Uint8Array;
  /** As issued. */
  readonly receipt: Uint8Array;
  /** With everything that a verifier needs; undefined where the receipt was judged with evidence of the session. */
  readonly bundle?: Uint8Array | undefined;
}

/** Where receipts are kept, by their ids. */
export interface ReceiptStore {
  /** Resolves when the record is kept; rejects where it cannot be. */
  put(record: ReceiptRecord): Promise<void>;
}

export interface StoreLimits {
  /** Of all records together; beyond it nothing more is kept (`STORE_FULL`). 1 GiB by default. */
  readonly maxBytes?: number;
}

export const DEFAULT_STORE_BYTES = 1024 ** 3;
const ID = /^[0-9a-f]{32}$/;

/** Refuses as `RECORD_INVALID` an id that is none: stores make names of ids. */
export function requireId(id: string): string {
  if (!ID.test(id)) throw new ClientError('RECORD_INVALID', 'a receipt id is 32 lower-case hex digits');
  return id;
}

/** What a record counts as, bytes. */
export function sizeOf({ nonce, k, request, response, receipt, bundle }: ReceiptRecord): number {
  return [nonce, k, request, response, receipt, bundle].reduce(
    (total, part) => total + (part?.length ?? 0),
    0,
  );
}

export function storeFull(maxBytes: number): ClientError {
  return new ClientError('STORE_FULL', `the receipts take more than ${maxBytes} bytes`);
}

/** Keeps receipts as long as the process or the page lives. */
export class MemoryReceiptStore implements ReceiptStore {
  readonly #records = new Map<string, ReceiptRecord>();
  readonly #maxBytes: number;
  #bytes = 0;

  constructor({ maxBytes = DEFAULT_STORE_BYTES }: StoreLimits = {}) {
    this.#maxBytes = maxBytes;
  }

  put(record: ReceiptRecord): Promise<void> {
    const before = this.#records.get(requireId(record.id));
    const bytes = this.#bytes + sizeOf(record) - (before ? sizeOf(before) : 0);
    if (bytes > this.#maxBytes) return Promise.reject(storeFull(this.#maxBytes));
    this.#records.set(record.id, record);
    this.#bytes = bytes;
    return Promise.resolve();
  }

  get(id: string): Promise<ReceiptRecord | undefined> {
    return Promise.resolve(this.#records.get(id));
  }

  /** In the order in which they came. */
  ids(): Promise<readonly string[]> {
    return Promise.resolve([...this.#records.keys()]);
  }

  delete(id: string): Promise<void> {
    const record = this.#records.get(id);
    if (record) this.#bytes -= sizeOf(record);
    this.#records.delete(id);
    return Promise.resolve();
  }
}
