import { setTimeout as delay } from 'node:timers/promises';
import { MAX_ENTRY_BYTES } from '../../attestation/log/tiles.ts';
import { isLogError, LogError } from './errors.ts';

/** Puts batches of entries on disk. */
export interface BatchWriter {
  /** Entries that the next batch may hold; 0 when `roll` is due. */
  readonly room: number;
  /** Makes the entries durable. After an error nothing of them counts, and it is tried again. */
  write(entries: readonly Uint8Array[]): Promise<void>;
  /** Takes an entry that is durable into memory. */
  take(entry: Uint8Array): void;
  /** Makes room. After an error it is tried again. */
  roll(): Promise<void>;
}

export interface QueueSettings {
  /** What the disk work is about, in errors. */
  readonly name: string;
  readonly onFailure: (error: unknown) => void;
  readonly retryDelaysMs: readonly number[];
}

/** Bytes that may wait for the disk before new entries are turned away. */
const MAX_PENDING_BYTES = 64 * 1024 * 1024;
/** Bytes of one write. */
const MAX_BATCH_BYTES = 4 * 1024 * 1024;

/** A stop does not wait for a storage that stays away. */
const ATTEMPTS_WHEN_CLOSING = 5;

interface PendingEntry {
  readonly entry: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: LogError) => void;
}

/**
 * Group commit: one piece of disk work runs at a time, and each batch takes along everything that was enqueued while
 * the former was written. What fails is tried again a few times, then the queue stops for ever.
 */
export class WriteQueue {
  readonly #writer: BatchWriter;
  readonly #settings: QueueSettings;
  #pending: PendingEntry[] = [];
  #pendingBytes = 0;
  #size = 0;
  #draining = false;
  #failing = false;
  #closing: Promise<void> | undefined;
  #stopped: LogError | undefined;
  /** End of the chain of disk work. */
  #work: Promise<unknown> = Promise.resolve();

  constructor(writer: BatchWriter, settings: QueueSettings) {
    this.#writer = writer;
    this.#settings = settings;
  }

  /** Entries that were ever enqueued. */
  get size(): number {
    return this.#size;
  }

  /** Why no entries are taken now; undefined where they are. */
  get failure(): LogError | undefined {
    if (this.#stopped) return this.#stopped;
    if (this.#closing) return closed();
    if (this.#failing) return this.#unavailable();
    if (this.#pendingBytes > MAX_PENDING_BYTES) {
      return new LogError('LOG_UNAVAILABLE', `${this.#pendingBytes} bytes wait for the disk`);
    }
    return undefined;
  }

  enqueue(entry: Uint8Array): { readonly index: number; readonly durable: Promise<void> } {
    const { failure } = this;
    if (failure) throw failure;
    if (entry.length > MAX_ENTRY_BYTES) {
      throw new LogError('ENTRY_TOO_LARGE', `the entry has ${entry.length} bytes`);
    }
    const durable = new Promise<void>((resolve, reject) => {
      this.#pending.push({ entry, resolve, reject });
    });
    // Who does not wait for the entry must not end the process.
    durable.catch(() => undefined);
    this.#pendingBytes += entry.length;
    if (!this.#draining) {
      this.#draining = true;
      void this.#exclusive(() => this.#drain());
    }
    return { index: this.#size++, durable };
  }

  /** One attempt of another write, in turn: a full disk changes nothing, `LOG_DIVERGED` ends the queue. */
  attempt(work: () => Promise<void>): Promise<void> {
    return this.#exclusive(async () => {
      if (this.#stopped) throw this.#stopped;
      try {
        await work();
      } catch (error) {
        if (isLogError(error, 'LOG_DIVERGED')) throw this.#stop(error);
        if (isFinal(error)) throw error;
        this.#settings.onFailure(error);
        throw this.#unavailable(error);
      }
    });
  }

  /** Takes no more entries, writes those it took, then does the last piece of work. */
  close(last: () => Promise<void>): Promise<void> {
    this.#closing ??= this.#exclusive(async () => {
      this.#stopped ??= closed();
      await last();
    });
    return this.#closing;
  }

  #exclusive<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#work.then(work);
    this.#work = result.catch(() => undefined);
    return result;
  }

  async #drain(): Promise<void> {
    while (this.#pending.length > 0 && !this.#stopped) {
      const batch = this.#nextBatch();
      try {
        await this.#persist(batch);
      } catch (error) {
        const stopped = this.#stop(error);
        for (const { reject } of batch) reject(stopped);
      }
    }
    this.#draining = false;
  }

  /** As many entries as the writer and one write take; at least one. */
  #nextBatch(): readonly PendingEntry[] {
    let count = 0;
    let bytes = 0;
    for (const { entry } of this.#pending) {
      if (count === this.#writer.room || (count > 0 && bytes + entry.length > MAX_BATCH_BYTES)) break;
      count++;
      bytes += entry.length;
    }
    this.#pendingBytes -= bytes;
    return this.#pending.splice(0, count);
  }

  async #persist(batch: readonly PendingEntry[]): Promise<void> {
    const entries = batch.map(({ entry }) => entry);
    await this.#retry(() => this.#writer.write(entries));
    for (const { entry, resolve } of batch) {
      this.#writer.take(entry);
      resolve();
    }
    if (this.#writer.room === 0) await this.#retry(() => this.#writer.roll());
  }

  /** Repeats a write that fails; new entries are turned away meanwhile. */
  async #retry(work: () => Promise<void>): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await work();
        this.#failing = false;
        return;
      } catch (error) {
        const patient = !this.#closing || attempt < ATTEMPTS_WHEN_CLOSING;
        const pause = patient ? this.#settings.retryDelaysMs[attempt] : undefined;
        if (isFinal(error) || pause === undefined) throw error;
        this.#failing = true;
        this.#settings.onFailure(error);
        await delay(pause);
      }
    }
  }

  /** Ends the queue for ever: everything that waits is refused. */
  #stop(error: unknown): LogError {
    if (this.#stopped) return this.#stopped;
    this.#stopped = isFinal(error)
      ? error
      : new LogError('LOG_ENDED', `${this.#settings.name} could not be written`, error);
    this.#settings.onFailure(this.#stopped);
    for (const { reject } of this.#pending) reject(this.#stopped);
    this.#pending = [];
    this.#pendingBytes = 0;
    return this.#stopped;
  }

  #unavailable(cause?: unknown): LogError {
    return new LogError('LOG_UNAVAILABLE', `${this.#settings.name} cannot be written`, cause);
  }
}

/** Trying again changes nothing. */
function isFinal(error: unknown): error is LogError {
  return error instanceof LogError && error.code !== 'LOG_UNAVAILABLE';
}

function closed(): LogError {
  return new LogError('LOG_ENDED', 'the log was closed');
}
