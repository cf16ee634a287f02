/** What a language model remembers of a sequence's beginning, and what it would say next. */
export interface Prefix {
  /** Tokens that it has seen. */
  readonly length: number;
  /** Of the last token, one for each token of the vocabulary. */
  readonly logits: Float32Array;
  /** Of its cache and logits. */
  readonly bytes: number;
  /** One more owner: each releases it once. */
  retain(): Prefix;
  release(): void;
}

/**
 * Caches of several sequences of like length side by side: row by row, each token in the column of its place, then
 * nothing up to `columns`. A row's results depend on nothing but the row.
 */
export interface Slab {
  readonly columns: number;
  readonly rows: number;
  /** Of all rows that there is memory for. */
  readonly bytes: number;
  /** Copies a prefix of at most `columns` tokens into a new last row. */
  add(prefix: Prefix): void;
  /** Moves a row of a narrower slab into a new last row; there, the last row takes its place. */
  adopt(from: Slab, row: number): void;
  /** Drops a row; the last row takes its place. */
  remove(row: number): void;
  /**
   * Gives each row a token. `lengths` are the tokens that each row has seen, fewer than `columns`. The logits of each
   * row are valid until the next step.
   */
  step(ids: readonly number[], lengths: readonly number[]): Promise<readonly Float32Array[]>;
  release(): void;
}

/** Runs a causal language model with its cache where the provider computes. */
export interface Decoder {
  readonly vocabulary: number;
  /** Bytes of the cache for one token of one sequence. */
  readonly tokenBytes: number;
  /** Rows that a step has at least, used or not. */
  readonly leastRows: number;
  /** Continues a prefix, or begins one, by at least one token. The prefix stays as it was. */
  extend(prefix: Prefix | undefined, ids: readonly number[]): Promise<Prefix>;
  slab(columns: number): Slab;
  release(): Promise<void>;
}
