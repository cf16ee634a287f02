import { CacheRoom } from './cacheRoom.ts';
import type { GeneratedToken, Generation } from './engine.ts';
import { columnsFor } from './decoder/columns.ts';
import type { Decoder, Prefix, Slab } from './decoder/decoder.ts';
import { cutPrompt, type PrefixStore, type PromptPieces } from './decoder/prefixes.ts';
import type { Batching } from './decoder/probe.ts';
import { FairQueue } from './fairQueue.ts';
import type { Sequence } from './sequence.ts';

/** Tokens of prompts in one turn: bounds the wait of sequences that are under way. */
const PROMPT_TOKENS = 256;
/** Logits of one run: a piece of a prompt has a row of them for each token. */
const MAX_PIECE_LOGITS = 0x200_0000;

/** Turns for which others may pass a sequence that has no room; then nobody enters until it has. */
const MAX_PASSED = 256;

/** One generation that waits or is under way. */
export interface GenerationJob {
  readonly id: number;
  /** Tenant, for fair turns and for what prompts leave behind. */
  readonly scope: string;
  readonly sequence: Sequence;
  /** Turns that it had no room in. */
  passed?: number;
}

export interface BatchListener {
  token(id: number, token: GeneratedToken): void;
  end(id: number, generation: Generation): void;
  fail(id: number, error: unknown): void;
}

export interface BatchLimits {
  /** Sequences under way; each has a cache in memory. */
  readonly sequences: number;
  /** Tokens that the memory for the caches of all sequences under way has room for. */
  readonly tokens: number;
}

/** What a decoder is driven with. */
export interface LanguageModel {
  readonly decoder: Decoder;
  readonly batching: Batching;
  /** Most tokens of one sequence. */
  readonly context: number;
  readonly prefixes: PrefixStore;
  readonly limits: BatchLimits;
}

/** A prompt that is being read. */
interface Reading {
  readonly id: number;
  readonly scope: string;
  readonly job: GenerationJob;
  readonly prompt: PromptPieces;
  prefix: Prefix | undefined;
  pieces: number;
}

/** A sequence that is computed by itself. */
interface Lone {
  readonly job: GenerationJob;
  prefix: Prefix;
}

/** Sequences of like length, in the order of the slab's rows. */
interface Group {
  readonly slab: Slab;
  readonly jobs: GenerationJob[];
}

/**
 * All generations of one model. They join and leave between steps: a turn reads a bounded part of the prompts that were
 * admitted, then gives every sequence under way one token. What a sequence says depends on itself alone.
 */
export class ContinuousBatch {
  readonly #model: LanguageModel;
  readonly #listener: BatchListener;
  readonly #waiting = new FairQueue<GenerationJob>();
  readonly #groups = new Map<number, Group>();
  readonly #reading = new FairQueue<Reading>();
  #lone: Lone[] = [];
  readonly #room: CacheRoom;

  constructor(model: LanguageModel, listener: BatchListener) {
    this.#model = model;
    this.#listener = listener;
    this.#room = new CacheRoom(model.limits, model.context, model.decoder.leastRows);
  }

  get isIdle(): boolean {
    const underWay = this.#reading.length + this.#lone.length + this.#groups.size;
    return this.#waiting.length + underWay === 0;
  }

  submit(job: GenerationJob): void {
    this.#room.seen(job.scope);
    this.#waiting.push(job);
  }

  /** Whether so large a sequence can ever be admitted. */
  holds(sequence: Sequence): boolean {
    return this.#room.holds(sequence);
  }

  /** Between turns: a run that is under way ends, and nobody hears of it. */
  cancel(id: number): void {
    this.#waiting.remove(id);
    this.#room.leave(id);
  }

  /** One turn. */
  async advance(): Promise<void> {
    this.#sweep();
    this.#admit();
    await this.#read();
    for (const lone of [...this.#lone]) await this.#stepLone(lone);
    for (const columns of [...this.#groups.keys()]) await this.#stepGroup(columns);
  }

  /** Frees all that generations hold, those that were cancelled since the last turn included. */
  release(): void {
    for (const { prefix } of [...this.#reading.inOrder(), ...this.#lone]) prefix?.release();
    for (const { slab } of this.#groups.values()) slab.release();
    for (const { id } of [...this.#reading.inOrder()]) this.#reading.remove(id);
    this.#lone = [];
    this.#groups.clear();
    this.#model.prefixes.clear();
  }

  /** Gives everything up after a fault that nobody foresaw. */
  abandon(error: unknown): void {
    const ids = [...[...this.#waiting.inOrder()].map(({ id }) => id), ...this.#room.ids];
    for (const id of ids) this.#waiting.remove(id);
    for (const id of ids) this.#room.leave(id);
    this.release();
    for (const id of ids) this.#listener.fail(id, error);
  }

  /** Drops what was cancelled. */
  #sweep(): void {
    const gone = (job: GenerationJob): boolean => !this.#room.has(job.id);
    for (const reading of [...this.#reading.inOrder()]) {
      if (!gone(reading.job)) continue;
      reading.prefix?.release();
      this.#reading.remove(reading.id);
    }
    for (const { job, prefix } of this.#lone) if (gone(job)) prefix.release();
    this.#lone = this.#lone.filter(({ job }) => !gone(job));
    for (const [columns, group] of this.#groups) {
      for (let row = group.jobs.length - 1; row >= 0; row--) {
        const job = group.jobs[row];
        if (job && gone(job)) this.#leave(columns, group, row);
      }
    }
  }

  /** Admits what fits, one of each tenant at a time. What does not fit lets others pass, but not for ever. */
  #admit(): void {
    for (const job of [...this.#waiting.inOrder()]) {
      if (this.#room.isFull) return;
      const othersWait = this.#waiting.scopes.some((scope) => scope !== job.scope);
      if (!this.#room.mayEnter(job, othersWait)) {
        job.passed = (job.passed ?? 0) + 1;
        if (job.passed > MAX_PASSED) return;
        continue;
      }
      this.#waiting.take(job);
      this.#begun(job);
    }
  }

  #begun(job: GenerationJob): void {
    const { id, scope, sequence } = job;
    const { vocabulary } = this.#model.decoder;
    this.#room.enter(job);
    const size = Math.max(1, Math.min(PROMPT_TOKENS, Math.floor(MAX_PIECE_LOGITS / vocabulary)));
    const prompt = cutPrompt(sequence.prompt, size, scope);
    this.#reading.push({ id, scope, job, prompt, prefix: undefined, pieces: 0 });
  }

  /** Reads prompts, a piece of one tenant's after another's; several short ones share a turn. */
  async #read(): Promise<void> {
    for (let tokens = 0; tokens < PROMPT_TOKENS;) {
      const reading = this.#reading.shift();
      if (!reading) return;
      try {
        tokens += await this.#readPiece(reading);
      } catch (error) {
        reading.prefix?.release();
        this.#fail(reading.job, error);
        continue;
      }
      if (reading.pieces < reading.prompt.pieces.length) this.#reading.push(reading);
      else if (reading.prefix) this.#begin(reading.job, reading.prefix);
    }
  }

  /** Reads the next piece; the number of its tokens. What an equal prompt left behind is not read again. */
  async #readPiece(reading: Reading): Promise<number> {
    const { decoder, prefixes } = this.#model;
    const { prompt } = reading;
    if (reading.pieces === 0) {
      const found = prefixes.find(prompt);
      reading.prefix = found.prefix;
      reading.pieces = found.pieces;
    }
    const piece = prompt.pieces[reading.pieces];
    if (piece) {
      const next = await decoder.extend(reading.prefix, piece);
      reading.prefix?.release();
      reading.prefix = next;
      reading.pieces += 1;
      prefixes.keep(prompt, reading.pieces, next);
    }
    return piece?.length ?? 0;
  }

  /** The whole prompt is read: its logits give the first token. */
  #begin(job: GenerationJob, prefix: Prefix): void {
    try {
      if (!this.#take(job, prefix.logits)) prefix.release();
      else if (this.#model.batching === 'alone') this.#lone.push({ job, prefix });
      else this.#join(job, prefix);
    } catch (error) {
      prefix.release();
      this.#fail(job, error);
    }
  }

  #join(job: GenerationJob, prefix: Prefix): void {
    this.#enter(job, prefix.length, (slab) => {
      slab.add(prefix);
    });
    prefix.release();
  }

  /** Puts a sequence into the group of its length. A group that it would have been the first of is then not there. */
  #enter(job: GenerationJob, tokens: number, put: (slab: Slab) => void): void {
    const columns = columnsFor(tokens, this.#model.context);
    const group = this.#groups.get(columns) ?? { slab: this.#model.decoder.slab(columns), jobs: [] };
    try {
      put(group.slab);
    } catch (error) {
      if (group.jobs.length === 0) group.slab.release();
      throw error;
    }
    group.jobs.push(job);
    this.#groups.set(columns, group);
  }

  async #stepLone(lone: Lone): Promise<void> {
    const { job } = lone;
    try {
      const next = await this.#model.decoder.extend(lone.prefix, [job.sequence.last]);
      lone.prefix.release();
      lone.prefix = next;
      if (this.#take(job, next.logits)) return;
    } catch (error) {
      this.#fail(job, error);
    }
    lone.prefix.release();
    this.#lone = this.#lone.filter((other) => other !== lone);
  }

  async #stepGroup(columns: number): Promise<void> {
    this.#widen(columns);
    const group = this.#groups.get(columns);
    if (!group) return;
    try {
      const sequences = group.jobs.map((job) => job.sequence);
      const ids = sequences.map((sequence) => sequence.last);
      const lengths = sequences.map((sequence) => sequence.seen);
      const rows = await group.slab.step(ids, lengths);
      // From the last row down: a row that leaves is replaced by one that has had its turn.
      for (let row = rows.length - 1; row >= 0; row--) this.#takeRow(columns, group, row, rows[row]);
    } catch (error) {
      this.#failGroup(columns, group, error);
    }
  }

  #takeRow(columns: number, group: Group, row: number, logits: Float32Array | undefined): void {
    const job = group.jobs[row];
    if (!job || !logits) return;
    try {
      if (this.#take(job, logits)) return;
    } catch (error) {
      this.#fail(job, error);
    }
    this.#leave(columns, group, row);
  }

  /** Sequences that fill their columns go on in wider ones. */
  #widen(columns: number): void {
    const group = this.#groups.get(columns);
    if (!group) return;
    for (let row = group.jobs.length - 1; row >= 0; row--) {
      const job = group.jobs[row];
      if (!job || columnsFor(job.sequence.seen, this.#model.context) === columns) continue;
      try {
        this.#enter(job, job.sequence.seen, (slab) => {
          slab.adopt(group.slab, row);
        });
        this.#forgetRow(columns, group, row);
      } catch (error) {
        this.#fail(job, error);
        this.#leave(columns, group, row);
      }
    }
  }

  #leave(columns: number, group: Group, row: number): void {
    // A group that failed has gone with all of its rows.
    if (this.#groups.get(columns) !== group) return;
    try {
      group.slab.remove(row);
      this.#forgetRow(columns, group, row);
    } catch (error) {
      this.#failGroup(columns, group, error);
    }
  }

  /** As the slab does: the last row takes the place. A group without rows gives its memory back. */
  #forgetRow(columns: number, group: Group, row: number): void {
    const last = group.jobs.pop();
    if (last && row < group.jobs.length) group.jobs[row] = last;
    if (group.jobs.length > 0) return;
    group.slab.release();
    this.#groups.delete(columns);
  }

  /** Chooses a token, and tells; false where the sequence has ended or was cancelled. */
  #take(job: GenerationJob, logits: Float32Array): boolean {
    if (!this.#room.has(job.id)) return false;
    const { token, end } = job.sequence.take(logits);
    if (token) this.#listener.token(job.id, token);
    if (!end) return true;
    this.#room.leave(job.id);
    this.#listener.end(job.id, end);
    return false;
  }

  #fail(job: GenerationJob, error: unknown): void {
    this.#room.leave(job.id);
    this.#listener.fail(job.id, error);
  }

  #failGroup(columns: number, group: Group, error: unknown): void {
    group.slab.release();
    this.#groups.delete(columns);
    for (const job of group.jobs) this.#fail(job, error);
  }
}
