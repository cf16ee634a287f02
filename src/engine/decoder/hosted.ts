import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { Decoder, Prefix, Slab } from './decoder.ts';
import {
  fillStep,
  inspectLogits,
  type LogitsForm,
  logitsRow,
  sequenceFeeds,
  type StepFeeds,
} from './feeds.ts';
import { halfBits } from '../tensors.ts';
import type { CacheSlot, DecoderPlan } from './plan.ts';

type Elements = Float32Array | Uint16Array;

const elementsOf = ({ datatype }: CacheSlot, count: number): Elements =>
  datatype === 'FP32' ? new Float32Array(count) : new Uint16Array(count);

/** The cache of one sequence in memory of JavaScript, a tensor for each. */
class HostedPrefix implements Prefix {
  readonly length: number;
  readonly logits: Float32Array;
  readonly caches: readonly Elements[];

  constructor(length: number, logits: Float32Array, caches: readonly Elements[]) {
    this.length = length;
    this.logits = logits;
    this.caches = caches;
  }

  get bytes(): number {
    return this.caches.reduce((sum, cache) => sum + cache.byteLength, this.logits.byteLength);
  }

  retain(): Prefix {
    return this;
  }

  release(): void {
    // The collector frees it.
  }
}

/**
 * A decoder over onnxruntime-node's own binding, for machines where the C interface cannot be had: every result comes
 * back to JavaScript, the cache with it.
 */
export class HostedDecoder implements Decoder {
  readonly plan: DecoderPlan;
  readonly #session: InferenceSession;
  readonly #logits: LogitsForm;

  static async create(session: InferenceSession, plan: DecoderPlan): Promise<HostedDecoder> {
    const logits = await inspectLogits((feeds, names) => session.run(feeds, [...names]), plan);
    return new HostedDecoder(session, plan, logits);
  }

  private constructor(session: InferenceSession, plan: DecoderPlan, logits: LogitsForm) {
    this.#session = session;
    this.plan = plan;
    this.#logits = logits;
  }

  get vocabulary(): number {
    return this.#logits.vocabulary;
  }

  get leastRows(): number {
    return 1;
  }

  get tokenBytes(): number {
    const bytes = ({ datatype, heads, width }: CacheSlot): number =>
      heads * width * (datatype === 'FP32' ? 4 : 2);
    return this.plan.caches.reduce((sum, slot) => sum + bytes(slot), 0);
  }

  async extend(prefix: Prefix | undefined, ids: readonly number[]): Promise<Prefix> {
    if (prefix && !(prefix instanceof HostedPrefix)) throw new Error('a prefix of another decoder');
    const seen = prefix?.length ?? 0;
    const feeds: Record<string, Tensor> = {};
    for (const [name, values] of sequenceFeeds(this.plan, ids, seen)) {
      feeds[name] = new Tensor('int64', values, [1, values.length]);
    }
    this.plan.caches.forEach((slot, i) => {
      feeds[slot.past] = cacheTensor(slot, prefix?.caches[i] ?? elementsOf(slot, 0), 1, seen);
    });
    const { logits, caches } = await this.run(feeds);
    const last = logitsRow(logits, this.#logits.perToken ? ids.length - 1 : 0, this.vocabulary).slice();
    return new HostedPrefix(seen + ids.length, last, caches);
  }

  slab(columns: number): Slab {
    return new HostedSlab(this, columns);
  }

  /** One run: the logits, and what each cache has become. */
  async run(
    feeds: Record<string, Tensor>,
  ): Promise<{ readonly logits: Elements; readonly caches: readonly Elements[] }> {
    const names = ['logits', ...this.plan.caches.map(({ present }) => present)];
    const outputs = await this.#session.run(feeds, names);
    const [logits, ...caches] = names.map((name) => elements(outputs[name]));
    if (!logits) throw new Error('the logits are missing');
    return { logits, caches };
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}

function elements(tensor: Tensor | undefined): Elements {
  const data = tensor?.data;
  if (data instanceof Float32Array) return data;
  if (tensor?.type !== 'float16' || !ArrayBuffer.isView(data))
    throw new Error('an output has another type than expected');
  return halfBits(data);
}

function cacheTensor(slot: CacheSlot, data: Elements, rows: number, columns: number): Tensor {
  const shape = [rows, slot.heads, columns, slot.width];
  return data instanceof Float32Array
    ? new Tensor('float32', data, shape)
    : new Tensor('float16', data, shape);
}

/** Rows side by side in one array for each cache. */
class HostedSlab implements Slab {
  readonly columns: number;
  readonly #decoder: HostedDecoder;
  #rows = 0;
  #caches: readonly Elements[];

  constructor(decoder: HostedDecoder, columns: number) {
    this.#decoder = decoder;
    this.columns = columns;
    this.#caches = decoder.plan.caches.map((slot) => elementsOf(slot, 0));
  }

  get rows(): number {
    return this.#rows;
  }

  get bytes(): number {
    return this.#caches.reduce((sum, cache) => sum + cache.byteLength, 0);
  }

  add(prefix: Prefix): void {
    if (!(prefix instanceof HostedPrefix)) throw new Error('a prefix of another decoder');
    this.#take(prefix.caches, prefix.length);
  }

  adopt(from: Slab, row: number): void {
    if (!(from instanceof HostedSlab)) throw new Error('a slab of another decoder');
    this.#take(from.#row(row), from.columns);
    from.remove(row);
  }

  remove(row: number): void {
    const last = this.#rows - 1;
    const moved = this.#row(last);
    this.#row(row).forEach((target, i) => {
      const source = moved[i];
      if (source && row !== last) target.set(source);
    });
    this.#rows = last;
  }

  async step(ids: readonly number[], lengths: readonly number[]): Promise<readonly Float32Array[]> {
    const { plan, vocabulary } = this.#decoder;
    const rows = this.#rows;
    const filled: StepFeeds = {
      input_ids: new BigInt64Array(rows),
      attention_mask: new BigInt64Array(rows * (this.columns + 1)),
      position_ids: new BigInt64Array(rows),
    };
    fillStep(filled, ids, lengths, this.columns, plan.appends);
    const feeds: Record<string, Tensor> = { input_ids: new Tensor('int64', filled.input_ids, [rows, 1]) };
    if (plan.usesMask) {
      feeds['attention_mask'] = new Tensor('int64', filled.attention_mask, [rows, this.columns + 1]);
    }
    if (plan.usesPositions) feeds['position_ids'] = new Tensor('int64', filled.position_ids, [rows, 1]);
    plan.caches.forEach((slot, i) => {
      const data = this.#caches[i]?.subarray(0, rows * this.#rowSize(slot)) ?? elementsOf(slot, 0);
      feeds[slot.past] = cacheTensor(slot, data, rows, this.columns);
    });
    const { logits, caches } = await this.#decoder.run(feeds);
    this.#append(caches, lengths);
    return lengths.map((_, row) => logitsRow(logits, row, vocabulary));
  }

  release(): void {
    this.#caches = [];
    this.#rows = 0;
  }

  /** Writes the step's own column of each row behind the row's tokens. */
  #append(present: readonly Elements[], lengths: readonly number[]): void {
    const { plan } = this.#decoder;
    plan.caches.forEach(({ heads, width }, i) => {
      const source = present[i];
      const target = this.#caches[i];
      if (!source || !target) return;
      lengths.forEach((length, row) => {
        const made = plan.appends === 'end' ? this.columns : length;
        for (let line = row * heads; line < (row + 1) * heads; line++) {
          const from = (line * (this.columns + 1) + made) * width;
          target.set(source.subarray(from, from + width), (line * this.columns + length) * width);
        }
      });
    });
  }

  /** A new last row: so many columns of each head, then nothing. */
  #take(source: readonly Elements[], length: number): void {
    this.#reserve(this.#rows + 1);
    const row = this.#row(this.#rows);
    this.#rows += 1;
    this.#decoder.plan.caches.forEach(({ heads, width }, i) => {
      row[i]?.fill(0);
      for (let head = 0; head < heads; head++) {
        const from = head * length * width;
        const part = source[i]?.subarray(from, from + length * width);
        if (part) row[i]?.set(part, head * this.columns * width);
      }
    });
  }

  #reserve(rows: number): void {
    this.#caches = this.#decoder.plan.caches.map((slot, i) => {
      const former = this.#caches[i] ?? elementsOf(slot, 0);
      const needed = rows * this.#rowSize(slot);
      if (former.length >= needed) return former;
      const wider = elementsOf(slot, Math.max(needed, 2 * former.length));
      wider.set(former);
      return wider;
    });
  }

  #row(row: number): readonly Elements[] {
    return this.#decoder.plan.caches.map((slot, i) => {
      const size = this.#rowSize(slot);
      return this.#caches[i]?.subarray(row * size, (row + 1) * size) ?? elementsOf(slot, 0);
    });
  }

  #rowSize({ heads, width }: CacheSlot): number {
    return heads * this.columns * width;
  }
}
