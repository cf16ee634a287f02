import type { Decoder, Prefix, Slab } from './decoder.ts';

/** What fills rows that nobody uses. */
const FILLER = [0] as const;

/**
 * A decoder whose steps always have the same number of rows. Some providers choose how to multiply by the number of
 * rows, and round otherwise for another: with rows that nobody uses filled up, company no longer changes it. Idle rows
 * cost little where a step's time goes into reading the weights.
 */
export class FullDecoder implements Decoder {
  readonly #inner: Decoder;
  readonly #filler: Prefix;
  readonly #rows: number;

  static async create(inner: Decoder, rows: number): Promise<FullDecoder> {
    return new FullDecoder(inner, await inner.extend(undefined, FILLER), rows);
  }

  private constructor(inner: Decoder, filler: Prefix, rows: number) {
    this.#inner = inner;
    this.#filler = filler;
    this.#rows = rows;
  }

  get vocabulary(): number {
    return this.#inner.vocabulary;
  }

  get leastRows(): number {
    return this.#rows;
  }

  get tokenBytes(): number {
    return this.#inner.tokenBytes;
  }

  extend(prefix: Prefix | undefined, ids: readonly number[]): Promise<Prefix> {
    return this.#inner.extend(prefix, ids);
  }

  slab(columns: number): Slab {
    return new FullSlab(this.#inner.slab(columns), this.#filler, this.#rows);
  }

  /** Leaves the decoder within to its owner. */
  discard(): void {
    this.#filler.release();
  }

  release(): Promise<void> {
    this.discard();
    return this.#inner.release();
  }
}

class FullSlab implements Slab {
  readonly #inner: Slab;
  readonly #filler: Prefix;
  readonly #full: number;
  /** Where each row lies among all; the others hold the filler. */
  readonly #places: number[] = [];

  constructor(inner: Slab, filler: Prefix, full: number) {
    this.#inner = inner;
    this.#filler = filler;
    this.#full = full;
  }

  get columns(): number {
    return this.#inner.columns;
  }

  get rows(): number {
    return this.#places.length;
  }

  get bytes(): number {
    return this.#inner.bytes;
  }

  add(prefix: Prefix): void {
    this.#enter(() => {
      this.#inner.add(prefix);
    });
  }

  adopt(from: Slab, row: number): void {
    if (!(from instanceof FullSlab)) throw new Error('a slab of another decoder');
    const place = from.#places[row];
    if (place === undefined) throw new Error('no such row');
    this.#enter(() => {
      this.#inner.adopt(from.#inner, place);
    });
    from.#forget(row, place);
  }

  remove(row: number): void {
    const place = this.#places[row];
    if (place === undefined) throw new Error('no such row');
    this.#inner.remove(place);
    this.#forget(row, place);
  }

  async step(ids: readonly number[], lengths: readonly number[]): Promise<readonly Float32Array[]> {
    // Where a row could not enter, or a filler, there are too few.
    this.#fill();
    const allIds = new Array<number>(this.#inner.rows).fill(FILLER[0]);
    const allLengths = new Array<number>(this.#inner.rows).fill(FILLER.length);
    this.#places.forEach((place, row) => {
      allIds[place] = ids[row] ?? FILLER[0];
      allLengths[place] = lengths[row] ?? FILLER.length;
    });
    const all = await this.#inner.step(allIds, allLengths);
    return this.#places.map((place) => all[place] ?? new Float32Array(0));
  }

  release(): void {
    this.#inner.release();
    this.#places.length = 0;
  }

  /** A new row takes the place of a filler, if there is one. */
  #enter(put: () => void): void {
    this.#fill();
    const idle = Array.from({ length: this.#inner.rows }, (_, place) => place).findLast(
      (place) => !this.#places.includes(place),
    );
    if (idle !== undefined) this.#drop(idle);
    put();
    this.#places.push(this.#inner.rows - 1);
  }

  /** A row has gone: the last one has its place now, and a filler comes behind. */
  #forget(row: number, place: number): void {
    const lastRow = this.#places.pop();
    if (lastRow !== undefined && row < this.#places.length) this.#places[row] = lastRow;
    this.#moved(place);
    this.#fill();
  }

  #drop(place: number): void {
    this.#inner.remove(place);
    this.#moved(place);
  }

  /** Within the inner slab, what was last lies at `place` now. */
  #moved(place: number): void {
    const at = this.#places.indexOf(this.#inner.rows);
    if (at >= 0) this.#places[at] = place;
  }

  #fill(): void {
    while (this.#inner.rows < this.#full) this.#inner.add(this.#filler);
  }
}
