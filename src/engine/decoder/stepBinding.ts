import type { Binding } from '../ort/binding.ts';
import type { DeviceMemory, NativeTensor } from '../ort/memory.ts';
import { ELEMENT_TYPES } from '../ort/session.ts';
import { type Appends, fillStep, logitsRow, maskWidth, places, type StepFeeds } from './feeds.ts';
import { EXTENT, EXTENT_TYPE, PLACES } from './inPlaceGraph.ts';
import type { NativeDecoder } from './native.ts';

/** Memory of the caches that a step reads, and writes its new column into. */
export interface StepMemory {
  readonly columns: number;
  readonly past: readonly DeviceMemory[];
  /** What the model gives back: the past with one column more, of which only that one is kept. Nothing, in place. */
  readonly present: readonly DeviceMemory[];
}

/** Bindings and feeds of steps for one number of rows. */
export class StepBinding {
  readonly rows: number;
  readonly #decoder: NativeDecoder;
  readonly #memory: StepMemory;
  readonly #appends: Appends;
  readonly #model: Binding;
  /** Writes the new column into the cache, where the model does not. */
  readonly #append: Binding | undefined;
  readonly #feeds: StepFeeds;
  /** Where the column is taken from, a number for each head of each row. */
  readonly #from: BigInt64Array;
  /** Where it goes: row and head, as the graph counts them, and column. */
  readonly #to: BigInt64Array;
  readonly #logits: Float32Array | Uint16Array;
  readonly #tensors: NativeTensor[] = [];
  /** Inputs that the host fills, by the name and binding that they have. */
  readonly #filled: (readonly [Binding, string, NativeTensor])[] = [];

  constructor(decoder: NativeDecoder, rows: number, memory: StepMemory) {
    this.rows = rows;
    this.#decoder = decoder;
    this.#memory = memory;
    this.#appends = decoder.inPlace ? 'place' : decoder.plan.appends;
    this.#model = decoder.session.bind();
    this.#append = decoder.append?.bind();
    const lines = rows * decoder.form.heads;
    this.#feeds = {
      input_ids: new BigInt64Array(rows),
      attention_mask: new BigInt64Array(rows * maskWidth(memory.columns, this.#appends)),
      position_ids: new BigInt64Array(rows),
    };
    this.#from = new BigInt64Array(lines);
    this.#to = this.#append ? lineNumbers(lines) : places(rows, decoder.form.heads, 0, 1);
    this.#logits = decoder.logitsArray(rows);
    this.#bindFeeds();
    if (this.#append) this.#bindAppend(this.#append, lines);
    else this.#bindInPlace();
  }

  /** The logits of each row are valid until the next step. */
  run(ids: readonly number[], lengths: readonly number[]): readonly Float32Array[] {
    const { session, form, vocabulary } = this.#decoder;
    fillStep(this.#feeds, ids, lengths, this.#memory.columns, this.#appends);
    const stride = this.#append ? 2 : 3;
    lengths.forEach((length, row) => {
      const made = this.#appends === 'end' ? this.#memory.columns : length;
      this.#from.fill(BigInt(made), row * form.heads, (row + 1) * form.heads);
      for (let line = row * form.heads; line < (row + 1) * form.heads; line++)
        this.#to[stride * (line + 1) - 1] = BigInt(length);
    });
    // What lies on the host is copied to another device when it is bound.
    if (session.memory.isRemote) {
      for (const [binding, name, tensor] of this.#filled) binding.input(name, tensor);
    }
    this.#model.run();
    this.#append?.run();
    return lengths.map((_, row) => logitsRow(this.#logits, row, vocabulary));
  }

  release(): void {
    this.#model.release();
    this.#append?.release();
    for (const tensor of this.#tensors) tensor.release();
  }

  #bindFeeds(): void {
    const { session, plan, vocabulary } = this.#decoder;
    const { rows } = this;
    const { input_ids: ids, attention_mask: mask, position_ids: positions } = this.#feeds;
    this.#fill(this.#model, 'input_ids', ids, [rows, 1]);
    if (plan.usesMask) this.#fill(this.#model, 'attention_mask', mask, [rows, mask.length / rows]);
    if (plan.usesPositions) this.#fill(this.#model, 'position_ids', positions, [rows, 1]);
    const shape = [rows, 1, vocabulary];
    this.#model.output(
      'logits',
      this.#keep(session.memory.over(this.#logits, shape, ELEMENT_TYPES[plan.logits])),
    );
  }

  #bindInPlace(): void {
    const { plan, form } = this.#decoder;
    const { columns, past } = this.#memory;
    this.#fill(this.#model, PLACES, this.#to, [this.rows, form.heads, 1, 3]);
    const [first] = past;
    const extent = first?.tensor([this.rows, form.heads, columns - 1, form.width], EXTENT_TYPE, 1);
    if (extent) this.#model.input(EXTENT, this.#keep(extent));
    plan.caches.forEach(({ past: input, present }, i) => {
      const cache = this.#view(past[i], [this.rows, form.heads, columns, form.width]);
      this.#model.input(input, cache);
      this.#model.output(present, cache);
    });
  }

  #bindAppend(append: Binding, lines: number): void {
    const { plan, form } = this.#decoder;
    const { columns, past, present } = this.#memory;
    this.#fill(append, 'from', this.#from, [lines, 1]);
    this.#fill(append, 'to', this.#to, [lines, 2]);
    plan.caches.forEach((slot, i) => {
      const shape = [this.rows, form.heads, columns, form.width];
      this.#model.input(slot.past, this.#view(past[i], shape));
      this.#model.output(slot.present, this.#view(present[i], shape.with(2, columns + 1)));
      const cache = this.#view(past[i], [lines, columns, form.width]);
      append.input(`cache.${i}`, cache);
      append.input(`present.${i}`, this.#view(present[i], [lines, columns + 1, form.width]));
      append.output(`next.${i}`, cache);
    });
  }

  #view(memory: DeviceMemory | undefined, shape: readonly number[]): NativeTensor {
    const { elementType, elementBytes } = this.#decoder.form;
    if (!memory) throw new Error('a cache has no memory');
    return this.#keep(memory.tensor(shape, elementType, elementBytes));
  }

  #fill(binding: Binding, name: string, array: BigInt64Array, shape: readonly number[]): void {
    const tensor = this.#keep(this.#decoder.session.memory.over(array, shape, ELEMENT_TYPES.INT64));
    this.#filled.push([binding, name, tensor]);
    binding.input(name, tensor);
  }

  #keep(tensor: NativeTensor): NativeTensor {
    this.#tensors.push(tensor);
    return tensor;
  }
}

/** Pairs of a line and a column that is not known yet. */
function lineNumbers(lines: number): BigInt64Array {
  return BigInt64Array.from({ length: 2 * lines }, (_, i) => (i % 2 === 0 ? BigInt(i / 2) : 0n));
}
