import type { Decoder, Prefix, Slab } from '../../src/engine/decoder/decoder.ts';

const VOCABULARY = 1024;

/** The token that the fake wants to say behind these: never 0, which ends. */
export function fakeToken(history: readonly number[]): number {
  const hash = history.reduce((sum, id) => (Math.imul(sum, 31) + id + 7) >>> 0, 17);
  return 1 + (hash % (VOCABULARY - 1));
}

/** Greedy tokens behind a prompt. */
export function fakeTokens(prompt: readonly number[], count: number): readonly number[] {
  const history = [...prompt];
  for (let i = 0; i < count; i++) history.push(fakeToken(history));
  return history.slice(prompt.length);
}

function logitsOf(history: readonly number[]): Float32Array {
  const logits = new Float32Array(VOCABULARY);
  logits[fakeToken(history)] = 5;
  return logits;
}

type Call =
  | { readonly kind: 'extend'; readonly seen: number; readonly ids: readonly number[] }
  | { readonly kind: 'step'; readonly columns: number; readonly rows: number }
  | { readonly kind: 'add' | 'adopt' };

/** A decoder whose every row tells by its logits what it was given. Counts what is not released. */
export class FakeDecoder implements Decoder {
  readonly vocabulary = VOCABULARY;
  readonly tokenBytes = 1;
  readonly leastRows = 1;
  readonly calls: Call[] = [];
  prefixes = 0;
  slabs = 0;
  released = false;
  /** Called before everything; may throw. */
  before: (call: Call, history: readonly number[]) => void | Promise<void> = () => undefined;

  get steps(): readonly Extract<Call, { kind: 'step' }>[] {
    return this.calls.filter((call) => call.kind === 'step');
  }

  get extensions(): readonly Extract<Call, { kind: 'extend' }>[] {
    return this.calls.filter((call) => call.kind === 'extend');
  }

  enter(call: Call, history: readonly number[]): void | Promise<void> {
    this.calls.push(call);
    return this.before(call, history);
  }

  async extend(prefix: Prefix | undefined, ids: readonly number[]): Promise<Prefix> {
    const seen = prefix ? historyOf(prefix) : [];
    const history = [...seen, ...ids];
    await this.enter({ kind: 'extend', seen: seen.length, ids }, history);
    return new FakePrefix(this, history);
  }

  slab(columns: number): Slab {
    return new FakeSlab(this, columns);
  }

  release(): Promise<void> {
    this.released = true;
    return Promise.resolve();
  }
}

function historyOf(prefix: Prefix): readonly number[] {
  if (!(prefix instanceof FakePrefix) || prefix.owners === 0) throw new Error('no prefix');
  return prefix.history;
}

class FakePrefix implements Prefix {
  readonly history: readonly number[];
  readonly logits: Float32Array;
  owners = 1;
  readonly #decoder: FakeDecoder;

  constructor(decoder: FakeDecoder, history: readonly number[]) {
    this.#decoder = decoder;
    this.history = history;
    this.logits = logitsOf(history);
    decoder.prefixes += 1;
  }

  get length(): number {
    return this.history.length;
  }

  get bytes(): number {
    return this.history.length;
  }

  retain(): Prefix {
    if (this.owners === 0) throw new Error('retained after its release');
    this.owners += 1;
    return this;
  }

  release(): void {
    this.owners -= 1;
    if (this.owners < 0) throw new Error('released once too often');
    if (this.owners === 0) this.#decoder.prefixes -= 1;
  }
}

class FakeSlab implements Slab {
  readonly columns: number;
  readonly #decoder: FakeDecoder;
  readonly #rows: number[][] = [];
  #released = false;

  constructor(decoder: FakeDecoder, columns: number) {
    this.#decoder = decoder;
    this.columns = columns;
    decoder.slabs += 1;
  }

  get rows(): number {
    return this.#rows.length;
  }

  get bytes(): number {
    return this.rows * this.columns;
  }

  add(prefix: Prefix): void {
    const history = historyOf(prefix);
    void this.#decoder.enter({ kind: 'add' }, history);
    this.#rows.push([...history]);
  }

  adopt(from: Slab, row: number): void {
    const history = from instanceof FakeSlab ? from.#rows[row] : undefined;
    if (!history) throw new Error('no row');
    void this.#decoder.enter({ kind: 'adopt' }, history);
    this.#rows.push(history);
    from.remove(row);
  }

  remove(row: number): void {
    const last = this.#rows.pop();
    if (!last || this.#released) throw new Error('no row');
    if (row < this.#rows.length) this.#rows[row] = last;
  }

  async step(ids: readonly number[], lengths: readonly number[]): Promise<readonly Float32Array[]> {
    const seen = this.#rows.map((row) => row.length);
    if (this.#released || seen.join() !== lengths.join() || ids.length !== seen.length)
      throw new Error('other rows than there are');
    if (seen.some((length) => length >= this.columns)) throw new Error('no column is left');
    const call: Call = { kind: 'step', columns: this.columns, rows: ids.length };
    await this.#decoder.enter(call, this.#rows.flat());
    ids.forEach((id, row) => this.#rows[row]!.push(id));
    return this.#rows.map(logitsOf);
  }

  release(): void {
    if (this.#released) throw new Error('released once too often');
    this.#released = true;
    this.#decoder.slabs -= 1;
  }
}
