import { Worker } from 'node:worker_threads';
import type { CoseKey } from '../../attestation/cose/key.ts';
import { generateKey, signWith, type SigningKey } from './signing.ts';

/** Messages of one batch, concatenated, with their lengths. */
export interface SigningBatch {
  readonly data: Uint8Array<ArrayBuffer>;
  readonly lengths: readonly number[];
}

export const SIGNATURE_BYTES = 64;
/** Small: the thread holds one batch at a time. */
const THREAD_MEMORY = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 16 } as const;

interface PendingBatch {
  readonly count: number;
  readonly resolve: (signatures: readonly Uint8Array[]) => void;
  readonly reject: (error: Error) => void;
}

/** A key whose batches are signed by a thread of this process, off the event loop that serves. */
export interface ThreadSigningKey extends SigningKey {
  close(): Promise<void>;
}

/** Makes a key and its thread; `entry` is the compiled thread. The private half stays in this process's memory. */
export function startSigningThread(alg: CoseKey['alg'], entry: URL): ThreadSigningKey {
  const { publicKey, privateKey } = generateKey(alg);
  const thread = new SigningThread(
    new Worker(entry, { workerData: privateKey, resourceLimits: THREAD_MEMORY }),
  );
  return {
    publicKey,
    sign: (data) => signWith(privateKey, data),
    signAll: (messages) => thread.sign(messages),
    close: () => thread.close(),
  };
}

class SigningThread {
  readonly #worker: Worker;
  /** Batches under way, oldest first: the thread answers in order. */
  readonly #pending: PendingBatch[] = [];
  #ended: Error | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (signatures: Uint8Array) => this.#take(signatures));
    worker.on('error', (error) => this.#end(error));
    worker.on('exit', () => this.#end(new Error('the signing thread ended')));
  }

  sign(messages: readonly Uint8Array[]): Promise<readonly Uint8Array[]> {
    if (this.#ended) return Promise.reject(this.#ended);
    const data = Uint8Array.from(Buffer.concat(messages));
    const batch: SigningBatch = { data, lengths: messages.map(({ length }) => length) };
    return new Promise((resolve, reject) => {
      this.#pending.push({ count: messages.length, resolve, reject });
      this.#worker.postMessage(batch, [data.buffer]);
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #take(signatures: Uint8Array): void {
    const batch = this.#pending.shift();
    if (signatures.length !== (batch?.count ?? 0) * SIGNATURE_BYTES) {
      batch?.reject(new Error('the signing thread gave too few signatures'));
      return;
    }
    batch?.resolve(
      Array.from({ length: batch.count }, (_, i) =>
        signatures.subarray(i * SIGNATURE_BYTES, (i + 1) * SIGNATURE_BYTES),
      ),
    );
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#pending.splice(0)) reject(this.#ended);
  }
}
