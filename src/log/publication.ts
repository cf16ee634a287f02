import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { parseCheckpoint, type CheckpointBody } from '../../attestation/log/checkpoint.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { encodeBundle, TILE_WIDTH } from '../../attestation/log/tiles.ts';
import { LogError } from './errors.ts';
import type { EvidenceStore } from './evidenceStore.ts';
import { readIfPresent, writeInFolder, writeWhole } from './files.ts';
import type { Journal } from './journal.ts';
import { FILE } from './layout.ts';
import type { TileEdge } from './tileEdge.ts';
import type { TileStore } from './tileStore.ts';

/** The parts of a log in memory that the disk is compared with. */
export interface LogParts {
  readonly directory: string;
  readonly origin: string;
  readonly edge: TileEdge;
  readonly store: TileStore;
  readonly journal: Journal;
  readonly evidence: EvidenceStore;
}

interface Published {
  readonly note: Uint8Array;
  readonly size: number;
}

/** The published head of a log: checkpoint and partial tiles. */
export class Publication {
  readonly #log: LogParts;
  #published: Published | undefined;

  constructor(log: LogParts) {
    this.#log = log;
  }

  get checkpoint(): Uint8Array | undefined {
    return this.#published?.note;
  }

  /** Checks the note against the tree and the disk against memory, writes the partial tiles, then the note. */
  async publish(note: Uint8Array, size: number): Promise<void> {
    const { directory, edge } = this.#log;
    await this.#requireOwn(note, size);
    await this.#compareDisk();
    for (const { path, bytes } of edge.partialTileFiles(size)) {
      await writeInFolder(join(directory, path), bytes);
    }
    await writeWhole(join(directory, FILE.checkpoint), note);
    this.#published = { note, size };
  }

  /** A log that published two checkpoints which contradict each other is convicted: nothing unchecked goes out. */
  async #requireOwn(note: Uint8Array, size: number): Promise<void> {
    const { edge, origin, store } = this.#log;
    if (size > edge.size || size < (this.#published?.size ?? 0)) {
      throw refused(`size ${size} is not between the last checkpoint and the ${edge.size} on disk`);
    }
    const body = parseBody(note);
    if (body?.origin !== origin || body.size !== size) throw refused('it names another log or size');
    if (!equalBytes(body.root, await store.root(size))) throw refused('it has another root');
  }

  /** The journal, the newest full tile, the checkpoint and the evidence head on disk must be what memory holds. */
  async #compareDisk(): Promise<void> {
    const { directory, edge, evidence, journal, store } = this.#log;
    journal.check();
    const open = edge.entriesOf(Math.floor(edge.size / TILE_WIDTH)) ?? [];
    const found = await readFile(join(directory, FILE.journal));
    if (found.compare(encodeBundle(open)) !== 0) throw diverged('the journal');
    await store.checkNewestTile().catch((error: unknown) => {
      throw error instanceof LogError ? diverged('the newest tile', error) : error;
    });
    const checkpoint = await readIfPresent(join(directory, FILE.checkpoint));
    if (!sameBytes(checkpoint, this.#published?.note)) throw diverged('the checkpoint');
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
  return new LogError('LOG_DIVERGED', `${what} on disk is not what this process wrote`, cause);
}
