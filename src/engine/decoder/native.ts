import type { SessionSettings } from '../session.ts';
import { ELEMENT_TYPES, NativeSession } from '../ort/session.ts';
import type { Binding } from '../ort/binding.ts';
import type { DeviceMemory, NativeTensor } from '../ort/memory.ts';
import { appendGraph, widenGraph } from './cacheGraph.ts';
import type { Decoder, Prefix, Slab } from './decoder.ts';
import { declaredSession, growsInPlace } from './declared.ts';
import { inspectLogits, type LogitsForm, logitsRow, places, sequenceFeeds } from './feeds.ts';
import { EXTENT, EXTENT_TYPE, PLACES } from './inPlaceGraph.ts';
import { NativeSlab } from './nativeSlab.ts';
import type { CacheSlot, DecoderPlan } from './plan.ts';

/** What all caches of a model have in common. */
export interface CacheForm {
  readonly count: number;
  readonly heads: number;
  readonly width: number;
  readonly elementType: number;
  readonly elementBytes: number;
}

/** The common form of all caches; undefined where they differ. */
export function cacheForm({ caches }: Pick<DecoderPlan, 'caches'>): CacheForm | undefined {
  const [first] = caches;
  const same = (slot: CacheSlot): boolean =>
    slot.datatype === first?.datatype && slot.heads === first.heads && slot.width === first.width;
  if (!first || !caches.every(same)) return undefined;
  const { datatype, heads, width } = first;
  const elementBytes = datatype === 'FP32' ? 4 : 2;
  return { count: caches.length, heads, width, elementType: ELEMENT_TYPES[datatype], elementBytes };
}

/** The cache of one sequence in memory of the device. */
class NativePrefix implements Prefix {
  readonly length: number;
  readonly logits: Float32Array;
  readonly caches: readonly DeviceMemory[];
  #owners = 1;

  constructor(length: number, logits: Float32Array, caches: readonly DeviceMemory[]) {
    this.length = length;
    this.logits = logits;
    this.caches = caches;
  }

  get bytes(): number {
    return this.caches.reduce((sum, cache) => sum + cache.bytes, this.logits.byteLength);
  }

  retain(): Prefix {
    this.#owners += 1;
    return this;
  }

  release(): void {
    this.#owners -= 1;
    if (this.#owners === 0) for (const cache of this.caches) cache.free();
  }
}

/** A decoder over the runtime's C interface: caches stay where the provider computes. */
export class NativeDecoder implements Decoder {
  readonly session: NativeSession;
  readonly plan: DecoderPlan;
  readonly form: CacheForm;
  /** Whether a step writes into its cache; otherwise `append` does. */
  readonly inPlace: boolean;
  readonly append: NativeSession | undefined;
  readonly widen: NativeSession;
  readonly #logits: LogitsForm;
  /** Nothing, on the host: what pads a cache; grows to the longest padding that was needed. */
  #zeros = new Uint8Array(0);

  static async create(
    session: NativeSession,
    plan: DecoderPlan,
    form: CacheForm,
    settings: SessionSettings,
  ): Promise<NativeDecoder> {
    const declared = declaredSession(session);
    const logits = await inspectLogits((feeds, names) => declared.run(feeds, names), plan);
    return new NativeDecoder(session, plan, form, logits, settings);
  }

  private constructor(
    session: NativeSession,
    plan: DecoderPlan,
    form: CacheForm,
    logits: LogitsForm,
    settings: SessionSettings,
  ) {
    this.session = session;
    this.plan = plan;
    this.form = form;
    this.#logits = logits;
    const graph = (weights: Uint8Array): NativeSession =>
      new NativeSession(session.runtime, { weights, external: new Map() }, settings);
    this.inPlace = growsInPlace(session);
    this.append = this.inPlace ? undefined : graph(appendGraph(form.count, form.elementType));
    this.widen = graph(widenGraph(form.count, form.elementType));
  }

  get vocabulary(): number {
    return this.#logits.vocabulary;
  }

  get leastRows(): number {
    return 1;
  }

  get tokenBytes(): number {
    const { count, heads, width, elementBytes } = this.form;
    return count * heads * width * elementBytes;
  }

  extend(prefix: Prefix | undefined, ids: readonly number[]): Promise<Prefix> {
    if (prefix && !(prefix instanceof NativePrefix)) throw new Error('a prefix of another decoder');
    const seen = prefix?.length ?? 0;
    const length = seen + ids.length;
    const rows = this.#logits.perToken ? ids.length : 1;
    const logits = this.logitsArray(rows);
    const { count } = this.form;
    const caches = this.session.memory.allocateEach(count, (this.tokenBytes / count) * length);
    const open: NativeTensor[] = [];
    const binding = this.session.bind();
    const keep = (tensor: NativeTensor): NativeTensor => {
      open.push(tensor);
      return tensor;
    };
    const { memory } = this.session;
    try {
      for (const [name, values] of sequenceFeeds(this.plan, ids, seen)) {
        binding.input(name, keep(memory.over(values, [1, values.length], ELEMENT_TYPES.INT64)));
      }
      if (this.inPlace) this.#bindPlaces(binding, keep, prefix, caches, ids.length);
      this.plan.caches.forEach(({ past, present }, i) => {
        const after = keep(this.#sequence(caches[i], length));
        binding.input(past, this.inPlace ? after : keep(this.#sequence(prefix?.caches[i], seen)));
        binding.output(present, after);
      });
      const shape = [1, rows, this.vocabulary];
      binding.output('logits', keep(memory.over(logits, shape, ELEMENT_TYPES[this.plan.logits])));
      binding.run();
      const last = logitsRow(logits, rows - 1, this.vocabulary).slice();
      return Promise.resolve(new NativePrefix(length, last, caches));
    } catch (error) {
      for (const cache of caches) cache.free();
      return Promise.reject(error instanceof Error ? error : new Error('the run failed'));
    } finally {
      binding.release();
      for (const tensor of open) tensor.release();
    }
  }

  slab(columns: number): Slab {
    return new NativeSlab(this, columns);
  }

  /** Copies caches, each followed by nothing, to where the others lie. All are seen as [lines, length, width]. */
  copy(
    sources: readonly NativeTensor[],
    targets: readonly NativeTensor[],
    lines: number,
    padding: number,
  ): void {
    const { width, elementType, elementBytes } = this.form;
    const bytes = lines * padding * width * elementBytes;
    if (this.#zeros.length < bytes) this.#zeros = new Uint8Array(bytes);
    const zeros = this.widen.memory.over(
      this.#zeros.subarray(0, bytes),
      [lines, padding, width],
      elementType,
    );
    const binding = this.widen.bind();
    try {
      binding.input('padding', zeros);
      sources.forEach((tensor, i) => binding.input(`source.${i}`, tensor));
      targets.forEach((tensor, i) => binding.output(`wide.${i}`, tensor));
      binding.run();
    } finally {
      binding.release();
      zeros.release();
    }
  }

  /** The caches of a prefix, seen as [heads, length, width]. The caller releases each. */
  lines(prefix: Prefix): readonly NativeTensor[] {
    if (!(prefix instanceof NativePrefix)) throw new Error('a prefix of another decoder');
    const { heads, width, elementType, elementBytes } = this.form;
    return prefix.caches.map((cache) =>
      cache.tensor([heads, prefix.length, width], elementType, elementBytes),
    );
  }

  /** Room in the host's memory for so many rows of logits. */
  logitsArray(rows: number): Float32Array | Uint16Array {
    const elements = rows * this.vocabulary;
    return this.plan.logits === 'FP32' ? new Float32Array(elements) : new Uint16Array(elements);
  }

  async release(): Promise<void> {
    await this.append?.release();
    await this.widen.release();
    await this.session.release();
  }

  /** Puts the prefix where its tokens go on, and says where that is. */
  #bindPlaces(
    binding: Binding,
    keep: (tensor: NativeTensor) => NativeTensor,
    prefix: NativePrefix | undefined,
    caches: readonly DeviceMemory[],
    tokens: number,
  ): void {
    const { heads, width, elementType, elementBytes } = this.form;
    const seen = prefix?.length ?? 0;
    if (prefix) {
      const sources = this.lines(prefix).map(keep);
      const shape = [heads, seen + tokens, width];
      const targets = caches.map((cache) => keep(cache.tensor(shape, elementType, elementBytes)));
      this.copy(sources, targets, heads, tokens);
    }
    const to = places(1, heads, seen, tokens);
    const { memory } = this.session;
    binding.input(PLACES, keep(memory.over(to, [1, heads, tokens, 3], ELEMENT_TYPES.INT64)));
    const [first] = caches;
    if (first) binding.input(EXTENT, keep(first.tensor([1, heads, seen, width], EXTENT_TYPE, 1)));
  }

  /** [1, heads, length, width] over a cache, or nothing. */
  #sequence(cache: DeviceMemory | undefined, length: number): NativeTensor {
    const { heads, width, elementType, elementBytes } = this.form;
    const shape = [1, heads, length, width];
    if (!cache) return this.session.memory.over(new Uint8Array(0), shape, elementType);
    return cache.tensor(shape, elementType, elementBytes);
  }
}
