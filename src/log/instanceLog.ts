import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { Frontier } from '../../attestation/log/frontier.ts';
import { encodeBundle, TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';
import type { LogError } from './errors.ts';
import { EvidenceStore, type EvidenceHead } from './evidenceStore.ts';
import { writeInFolder } from './files.ts';
import type { Journal } from './journal.ts';
import type { Lock } from './lock.ts';
import { Publication } from './publication.ts';
import { TileEdge } from './tileEdge.ts';
import { TileStore } from './tileStore.ts';
import { WriteQueue } from './writeQueue.ts';

export interface LogSettings {
  /** Folder of this instance, `<data>/instances/<instance hex>`. */
  readonly directory: string;
  readonly origin: string;
  /** Told of every failed attempt to write, and of the error that ends the log. */
  readonly onFailure?: (error: unknown) => void;
  /** Pauses between the attempts of one write, in ms; after the last attempt the log ends. */
  readonly retryDelaysMs?: readonly number[];
}

const RETRY_DELAYS_MS = [20, 100, 500, 2000, 5000];

const sha256 = sha256With(nodeCrypto);

/** The append-only log of this process. Indexes are given in call order; an entry is acknowledged once synced. */
export class InstanceLog {
  readonly origin: string;
  readonly directory: string;
  readonly #lock: Lock;
  readonly #journal: Journal;
  readonly #edge = new TileEdge(sha256);
  readonly #frontier = new Frontier(sha256);
  readonly #store: TileStore;
  readonly #evidence: EvidenceStore;
  readonly #publication: Publication;
  readonly #queue: WriteQueue;
  readonly #onFailure: (error: unknown) => void;

  constructor(settings: LogSettings, journal: Journal, lock: Lock) {
    const { directory, origin, onFailure = () => undefined, retryDelaysMs = RETRY_DELAYS_MS } = settings;
    this.origin = origin;
    this.directory = directory;
    this.#lock = lock;
    this.#journal = journal;
    this.#onFailure = onFailure;
    const edge = this.#edge;
    this.#store = new TileStore(directory, sha256, edge);
    this.#evidence = new EvidenceStore(directory, sha256);
    const parts = { directory, origin, edge, store: this.#store, journal, evidence: this.#evidence };
    this.#publication = new Publication(parts);
    const writer = {
      get room(): number {
        return edge.room;
      },
      write: (entries: readonly Uint8Array[]) => journal.append(encodeBundle(entries)),
      take: (entry: Uint8Array) => {
        this.#frontier.append(edge.append(entry));
      },
      roll: () => this.#moveBundle(),
    };
    this.#queue = new WriteQueue(writer, { name: directory, onFailure, retryDelaysMs });
  }

  /** The next index: entries that are not yet durable count. */
  get size(): number {
    return this.#queue.size;
  }

  /** Entries that are synced to disk. */
  get durableSize(): number {
    return this.#frontier.size;
  }

  /** Size and root of what is durable. */
  get head(): { readonly size: number; readonly root: Uint8Array } {
    return { size: this.#frontier.size, root: this.#frontier.root() };
  }

  /** Why the log takes no entries now; undefined where it does. */
  get failure(): LogError | undefined {
    return this.#queue.failure;
  }

  /** The newest evidence document. */
  get evidenceHead(): EvidenceHead | undefined {
    return this.#evidence.head;
  }

  /** The newest published checkpoint. */
  get checkpoint(): Uint8Array | undefined {
    return this.#publication.checkpoint;
  }

  /**
   * Takes the next index at once; `durable` resolves when the entry is synced. Throws `LogError` where the log takes
   * no entries, and then no index was taken.
   */
  enqueue(entry: Uint8Array): { readonly index: number; readonly durable: Promise<void> } {
    return this.#queue.enqueue(entry);
  }

  /** RFC 9162 root over the first `size` durable entries. */
  root(size: number): Promise<Uint8Array> {
    return this.#store.root(size);
  }

  inclusionProof(index: number, size: number): Promise<readonly Uint8Array[]> {
    return this.#store.inclusionProof(index, size);
  }

  consistencyProof(size1: number, size2: number): Promise<readonly Uint8Array[]> {
    return this.#store.consistencyProof(size1, size2);
  }

  entry(index: number): Promise<Uint8Array> {
    return this.#store.entry(index);
  }

  /** Content of a tile path; undefined where the log does not reach that far. A bad path is a `Refusal`. */
  tile(path: string): Promise<Uint8Array | undefined> {
    return this.#store.tile(path);
  }

  /**
   * Publishes a checkpoint of a durable size, not below the last one: its partial tiles first, then the note in one
   * step. The disk is compared with memory before: what differs ends the log as `LOG_DIVERGED`.
   */
  publish(checkpoint: Uint8Array, size: number): Promise<void> {
    return this.#queue.attempt(() => this.#publication.publish(checkpoint, size));
  }

  /** Writes evidence document `seq`, the next one, after comparing the former with memory. */
  writeEvidence(seq: number, document: Uint8Array): Promise<void> {
    return this.#queue.attempt(() => this.#evidence.write(seq, document));
  }

  readEvidence(seq: number): Promise<Uint8Array> {
    return this.#evidence.read(seq);
  }

  /** Takes no more entries, waits for those it took, then closes the files and gives up the lock. */
  close(): Promise<void> {
    return this.#queue.close(async () => {
      await this.#journal.close();
      await this.#lock.release();
    });
  }

  /** Writes the tiles that the full bundle completed, then gives it its final name: bundles never lack their tiles. */
  async #moveBundle(): Promise<void> {
    const files = this.#edge.fullTileFiles();
    for (const { path, bytes } of files) await writeInFolder(join(this.directory, path), bytes);
    const index = this.#frontier.size / TILE_WIDTH - 1;
    const bundle = tilePath({ level: 'entries', index, width: TILE_WIDTH });
    await this.#journal.moveTo(join(this.directory, bundle));
    this.#edge.release();
    for (const { path } of files) {
      // Partial tiles may go once their full tile is there. One that stays is no loss.
      await rm(join(this.directory, `${path}.p`), { recursive: true, force: true }).catch(this.#onFailure);
    }
  }
}
