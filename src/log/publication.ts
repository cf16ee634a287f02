import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { parseCheckpoint, type CheckpointBody } from '../../attestation/log/checkpoint.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { encodeBundle, TILE_WIDTH } from '../../attestation/log/tiles.ts';
import { isLogError, LogError } from './errors.ts';
import type { EvidenceStore } from './evidenceStore.ts';
import { FILE } from './layout.ts';
import type { Journal, LogFiles } from './storage.ts';
import type { TileEdge } from './tileEdge.ts';
import type { TileStore } from './tileStore.ts';

/** The parts of a log in memory that its files are compared with. */
export interface LogParts {
  readonly files: LogFiles;
  readonly origin: string;
  readonly edge: TileEdge;
  readonly store: TileStore;
  readonly journal: Journal;
  readonly evidence: EvidenceStore;
}

/** Of a few hundred bytes each; without them a write that was done and not confirmed would end the log. */
const MAX_UNCONFIRMED = 64;

interface Published {
  readonly note: Uint8Array;
  readonly size: number;
}

/** The published head of a log: checkpoint and partial tiles. */
export class Publication {
  readonly #log: LogParts;
  #published: Published | undefined;
  /** Notes whose write failed since: they may have been written all the same. */
  #unconfirmed: readonly Uint8Array[] = [];

  constructor(log: LogParts) {
    this.#log = log;
  }

  get checkpoint(): Uint8Array | undefined {
    return this.#published?.note;
  }

  /** Entries under the newest checkpoint. */
  get size(): number {
    return this.#published?.size ?? 0;
  }

  /** Checks the note against the tree and the files against memory, writes the partial tiles, then the note. */
  async publish(note: Uint8Array, size: number): Promise<void> {
    const { files, edge } = this.#log;
    await this.#requireOwn(note, size);
    await this.#compareFiles();
    for (const { path, bytes } of edge.partialTileFiles(size)) await files.write(path, bytes);
    this.#unconfirmed = [...this.#unconfirmed, note].slice(-MAX_UNCONFIRMED);
    await files.write(FILE.checkpoint, note);
    this.#published = { note, size };
    this.#unconfirmed = [];
  }

  /** A log that published two checkpoints which contradict each other is convicted: nothing unchecked goes out. */
  async #requireOwn(note: Uint8Array, size: number): Promise<void> {
    const { edge, origin, store } = this.#log;
    if (size > edge.size || size < this.size) {
      throw refused(`size ${size} is not between the last checkpoint and the ${edge.size} that are durable`);
    }
    const body = parseBody(note);
    if (body?.origin !== origin || body.size !== size) throw refused('it names another log or size');
    if (!equalBytes(body.root, await store.root(size))) throw refused('it has another root');
  }

  /** The journal, the newest full tile, the checkpoint and the evidence head as stored must be what memory holds. */
  async #compareFiles(): Promise<void> {
    const { files, edge, evidence, journal, store } = this.#log;
    const open = edge.entriesOf(Math.floor(edge.size / TILE_WIDTH)) ?? [];
    if (Buffer.compare(await journal.read(), encodeBundle(open)) !== 0) throw diverged('the journal');
    await store.checkNewestTile().catch((error: unknown) => {
      throw isLogError(error, 'LOG_CORRUPT') ? diverged('the newest tile', error) : error;
    });
    const checkpoint = await files.read(FILE.checkpoint);
    const possible = [this.#published?.note, ...this.#unconfirmed];
    if (!possible.some((note) => sameBytes(checkpoint, note))) throw diverged('the checkpoint');
    await evidence.check();
  }
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a && b ? equalBytes(a, b) : a === b;
}

function parseBody(note: Uint8Array): CheckpointBody | undefined {
  try {
    return parseCheckpoint(parseNote(note).text);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

function refused(detail: string): LogError {
  return new LogError('CHECKPOINT_REFUSED', detail);
}

function diverged(what: string, cause?: unknown): LogError {
  return new LogError('LOG_DIVERGED', `${what} as stored is not what this process wrote`, cause);
}
