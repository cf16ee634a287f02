import { columnsFor } from '../../src/engine/decoder/columns.ts';
import type { Decoder, Slab } from '../../src/engine/decoder/decoder.ts';
import { likeliest } from './decoders.ts';

/** A greedy sequence on its way through the slabs. */
export interface Walker {
  /** Tokens that the model has seen. */
  seen: number;
  readonly ids: number[];
  /** Of each token in `ids`. */
  readonly logits: Float32Array[];
}

interface Room {
  readonly slab: Slab;
  readonly walkers: Walker[];
}

/** Sequences side by side, as generations are, but step by step at the will of a test. */
export class SlabWalk {
  readonly #decoder: Decoder;
  readonly #context: number;
  readonly #rooms = new Map<number, Room>();

  constructor(decoder: Decoder, context: number) {
    this.#decoder = decoder;
    this.#context = context;
  }

  /** Widths of the slabs that there are. */
  get widths(): readonly number[] {
    return [...this.#rooms.keys()];
  }

  async enter(prompt: readonly number[]): Promise<Walker> {
    const prefix = await this.#decoder.extend(undefined, prompt);
    const walker: Walker = { seen: prompt.length, ids: [likeliest(prefix.logits)], logits: [prefix.logits] };
    const room = this.#room(walker);
    room.slab.add(prefix);
    room.walkers.push(walker);
    prefix.release();
    return walker;
  }

  leave(walker: Walker): void {
    for (const room of this.#rooms.values()) {
      const row = room.walkers.indexOf(walker);
      if (row < 0) continue;
      room.slab.remove(row);
      drop(room, row);
    }
  }

  /** Everybody's next token. */
  async step(): Promise<void> {
    for (const [columns, room] of [...this.#rooms]) this.#widen(columns, room);
    for (const { slab, walkers } of this.#rooms.values()) {
      if (walkers.length === 0) continue;
      const ids = walkers.map((walker) => walker.ids.at(-1)!);
      const rows = await slab.step(
        ids,
        walkers.map(({ seen }) => seen),
      );
      walkers.forEach((walker, i) => {
        walker.seen += 1;
        walker.ids.push(likeliest(rows[i]!));
        walker.logits.push(rows[i]!.slice());
      });
    }
  }

  release(): void {
    for (const { slab } of this.#rooms.values()) slab.release();
    this.#rooms.clear();
  }

  #widen(columns: number, room: Room): void {
    for (let row = room.walkers.length - 1; row >= 0; row--) {
      const walker = room.walkers[row]!;
      if (columnsFor(walker.seen, this.#context) === columns) continue;
      const wider = this.#room(walker);
      wider.slab.adopt(room.slab, row);
      wider.walkers.push(walker);
      drop(room, row);
    }
  }

  #room({ seen }: Walker): Room {
    const columns = columnsFor(seen, this.#context);
    const room = this.#rooms.get(columns) ?? { slab: this.#decoder.slab(columns), walkers: [] };
    this.#rooms.set(columns, room);
    return room;
  }
}

/** As the slab does: the last row takes the place. */
function drop({ walkers }: Room, row: number): void {
  const last = walkers.pop()!;
  if (row < walkers.length) walkers[row] = last;
}
