import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { Frontier } from '../../attestation/log/frontier.ts';
import { encodeBundle, TILE_WIDTH } from '../../attestation/log/tiles.ts';
import { Attachments } from './attachments.ts';
import type { LogError } from './errors.ts';
import { EvidenceStore, type EvidenceHead } from './evidenceStore.ts';
import { Publication } from './publication.ts';
import type { NewLog } from './storage.ts';
import { TileEdge } from './tileEdge.ts';
import { TileStore } from './tileStore.ts';
import { WriteQueue } from './writeQueue.ts';

export interface LogSettings {
  readonly origin: string;
  /** Told of every failed attempt to write, and of the error that ends the log. */
  readonly onFailure?: (error: unknown) => void;
  /** Pauses between the attempts of one write, in ms; after the last attempt the log ends. */
  readonly retryDelaysMs: readonly number[];
}

const sha256 = sha256With(nodeCrypto);

/** The append-only log of this process. Indexes are given in call order; an entry is acknowledged once synced. */
export class InstanceLog {
  readonly origin: string;
  readonly #stored: NewLog;
  readonly #edge = new TileEdge(sha256);
  readonly #frontier = new Frontier(sha256);
  readonly #store: TileStore;
  readonly #evidence: EvidenceStore;
  readonly #attachments: Attachments;
  readonly #publication: Publication;
  readonly #queue: WriteQueue;
  readonly #onFailure: (error: unknown) => void;

  constructor(settings: LogSettings, stored: NewLog) {
    const { origin, onFailure = () => undefined, retryDelaysMs } = settings;
    const { files, journal } = stored;
    this.origin = origin;
    this.#stored = stored;
    this.#onFailure = onFailure;
    const edge = this.#edge;
    this.#store = new TileStore(files, sha256, edge);
    this.#evidence = new EvidenceStore(files, sha256);
    this.#attachments = new Attachments(files, sha256);
    const parts = { files, origin, edge, store: this.#store, journal, evidence: this.#evidence };
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
    this.#queue = new WriteQueue(writer, { name: files.name, onFailure, retryDelaysMs });
  }

  /** Where it is, for people: a folder, or a prefix of keys. */
  get place(): string {
    return this.#stored.files.name;
  }

  /** The next index: entries that are not yet durable count. */
  get size(): number {
    return this.#queue.size;
  }

  /** Entries that survive a crash. */
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

  /** Entries under the newest published checkpoint; 0 without one. */
  get publishedSize(): number {
    return this.#publication.size;
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
   * step. Its files are compared with memory before: what differs ends the log as `LOG_DIVERGED`.
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

  /** Keeps what vendors said when document `seq` was made. */
  writeCollateral(seq: number, collateral: Uint8Array): Promise<void> {
    return this.#queue.attempt(() => this.#attachments.writeCollateral(seq, collateral));
  }

  readCollateral(seq: number): Promise<Uint8Array> {
    return this.#attachments.readCollateral(seq);
  }

  /** Keeps what outsiders said of the head of this size; what they said later replaces it. */
  writeAnchor(size: number, anchor: Uint8Array): Promise<void> {
    return this.#queue.attempt(() => this.#attachments.writeAnchor(size, anchor));
  }

  readAnchor(size: number): Promise<Uint8Array> {
    return this.#attachments.readAnchor(size);
  }

  /** Paths of the anchors and the collateral. */
  extras(): Promise<readonly string[]> {
    return this.#attachments.paths();
  }

  /** One of `extras`, as stored; undefined where there is no such file. */
  readExtra(path: string): Promise<Uint8Array | undefined> {
    return this.#attachments.read(path);
  }

  /** Takes no more entries, waits for those it took, then closes the files and gives up the lock. */
  close(): Promise<void> {
    return this.#queue.close(async () => {
      await this.#stored.journal.close();
      await this.#stored.release();
    });
  }

  /** Writes the tiles that the full bundle completed, then gives it its final name: bundles never lack their tiles. */
  async #moveBundle(): Promise<void> {
    const { files, journal } = this.#stored;
    const tiles = this.#edge.fullTileFiles();
    for (const { path, bytes } of tiles) await files.write(path, bytes);
    const entries = this.#edge.entriesOf(this.#frontier.size / TILE_WIDTH - 1) ?? [];
    await journal.seal(entries);
    this.#edge.release();
    for (const { path } of tiles) {
      // Partial tiles may go once their full tile is there. One that stays is no loss.
      await files.removeFolder(`${path}.p`).catch(this.#onFailure);
    }
  }
}
