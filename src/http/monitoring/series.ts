import type { ActivityRates } from './activity.ts';

/** One sample: what happened since the one before, and how things stood at its end. */
export interface Sample extends ActivityRates {
  /** Milliseconds since 1970, by the clock of the service. */
  readonly at: number;
  /** Requests that have a place, and those of them that wait for their turn. */
  readonly inside: number;
  readonly waiting: number;
  /** Requests that the engine has not answered. */
  readonly pending: number;
  /** Receipts that no document covers yet. */
  readonly uncovered: number;
}

/** Samples in the order of their numbers, which never repeat while the service runs. */
export interface SeriesPage {
  /** Number of the first sample; that of the next one where there is none. */
  readonly first: number;
  readonly samples: readonly Sample[];
}

/** The newest samples, at most `capacity` of them. */
export class Series {
  readonly #capacity: number;
  readonly #ring: Sample[] = [];
  #count = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(sample: Sample): void {
    this.#ring[this.#count % this.#capacity] = sample;
    this.#count++;
  }

  /** The newest `count` samples, or as many as there are. */
  newest(count: number): readonly Sample[] {
    return this.page(this.#count - count).samples;
  }

  /** The samples that are kept, from the number `from` on. */
  page(from: number): SeriesPage {
    const oldest = Math.max(0, this.#count - this.#capacity);
    const first = Math.min(Math.max(from, oldest), this.#count);
    const numbers = Array.from({ length: this.#count - first }, (_, i) => first + i);
    return { first, samples: numbers.flatMap((number) => this.#ring[number % this.#capacity] ?? []) };
  }
}
