import type { BatchLimits, GenerationJob } from './continuousBatch.ts';
import { columnsFor } from './decoder/columns.ts';
import type { Sequence } from './sequence.ts';

/** A cache and what a step gives back of it, each with the room to grow that a slab has, and the cache that is copied. */
const CACHE_COPIES = 3.5;
/** Of the room, what one tenant may have while others wait. */
const SHARE = 0.75;

interface Reserved {
  readonly scope: string;
  /** The widest cache that it may come to need. */
  readonly columns: number;
}

/** Who is under way, and the room that their caches may come to need. */
export class CacheRoom {
  readonly #limits: BatchLimits;
  readonly #context: number;
  /** Rows that a step has at least. */
  readonly #leastRows: number;
  readonly #reserved = new Map<number, Reserved>();
  #firstScope: string | undefined;
  /** More than one tenant has asked so far. */
  #isShared = false;

  constructor(limits: BatchLimits, context: number, leastRows: number) {
    this.#limits = limits;
    this.#context = context;
    this.#leastRows = leastRows;
  }

  get isFull(): boolean {
    return this.#reserved.size >= this.#limits.sequences;
  }

  get ids(): readonly number[] {
    return [...this.#reserved.keys()];
  }

  /** Takes note of a tenant that asks. */
  seen(scope: string): void {
    this.#firstScope ??= scope;
    this.#isShared ||= scope !== this.#firstScope;
  }

  has(id: number): boolean {
    return this.#reserved.has(id);
  }

  /** Whether so large a sequence can ever enter. */
  holds(sequence: Sequence): boolean {
    return this.#roomFor([this.#columnsOf(sequence)]) <= this.#limits.tokens;
  }

  /** Of several tenants, each leaves a place, and a quarter of the room while others wait. */
  mayEnter({ scope, sequence }: GenerationJob, othersWait: boolean): boolean {
    const { sequences, tokens } = this.#limits;
    const all = [...this.#reserved.values()];
    const own = all.filter((reserved) => reserved.scope === scope);
    if (this.#isShared && sequences > 1 && own.length >= sequences - 1) return false;
    const columns = this.#columnsOf(sequence);
    const withIt = (list: readonly Reserved[]): readonly number[] => [
      ...list.map((reserved) => reserved.columns),
      columns,
    ];
    if (this.#roomFor(withIt(all)) > tokens) return false;
    return !othersWait || own.length === 0 || this.#roomFor(withIt(own)) <= SHARE * tokens;
  }

  enter({ id, scope, sequence }: GenerationJob): void {
    this.#reserved.set(id, { scope, columns: this.#columnsOf(sequence) });
  }

  leave(id: number): void {
    this.#reserved.delete(id);
  }

  #columnsOf({ prompt, limit }: Sequence): number {
    return columnsFor(prompt.length + limit - 1, this.#context);
  }

  /** Tokens that there has to be room for when sequences come to need caches of these widths. */
  #roomFor(columns: readonly number[]): number {
    const own = columns.reduce((sum, width) => sum + width, 0);
    // Each width has a group with all its rows; widths grow by half, so all together are less than three of the widest.
    const groups = 3 * this.#leastRows * Math.max(0, ...columns);
    return Math.ceil(CACHE_COPIES * (this.#leastRows === 1 ? own : Math.max(own, groups)));
  }
}
