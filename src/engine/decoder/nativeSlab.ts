import type { Binding } from '../ort/binding.ts';
import type { DeviceMemory, NativeTensor } from '../ort/memory.ts';
import { ELEMENT_TYPES } from '../ort/session.ts';
import type { Prefix, Slab } from './decoder.ts';
import { fillGroupedMask, fillStep, logitsRow, type StepFeeds } from './feeds.ts';
import type { NativeDecoder } from './native.ts';

/** Room for rows to come: caches are copied when it is used up. */
const GROWTH = 1.25;
/** So many rows have exactly the memory that they need. */
const FEW = 4;

/** Bindings and feeds for one number of rows. */
interface Bound {
  readonly rows: number;
  readonly model: Binding;
  readonly append: Binding;
  readonly feeds: StepFeeds;
  readonly tensors: readonly NativeTensor[];
  /** Inputs that the host fills, by the name and binding that they have. */
  readonly filled: readonly (readonly [Binding, string, NativeTensor])[];
  readonly logits: Float32Array | Uint16Array;
  readonly from: BigInt64Array;
  readonly to: BigInt64Array;
}

/** Rows in one block of memory for each cache; a step writes its new column in place. */
export class NativeSlab implements Slab {
  readonly columns: number;
  readonly #decoder: NativeDecoder;
  #rows = 0;
  #capacity = 0;
  #past: readonly DeviceMemory[] = [];
  /** What the model gives back: the past with one column more, of which only that one is kept. */
  #present: readonly DeviceMemory[] = [];
  #bound: Bound | undefined;

  constructor(decoder: NativeDecoder, columns: number) {
    this.#decoder = decoder;
    this.columns = columns;
  }

  get rows(): number {
    return this.#rows;
  }

  get bytes(): number {
    return [...this.#past, ...this.#present].reduce((sum, memory) => sum + memory.bytes, 0);
  }

  add(prefix: Prefix): void {
    this.#take(this.#decoder.lines(prefix), prefix.length);
  }

  adopt(from: Slab, row: number): void {
    if (!(from instanceof NativeSlab)) throw new Error('a slab of another decoder');
    this.#take(from.#row(row), from.columns);
    from.remove(row);
  }

  remove(row: number): void {
    const last = this.#rows - 1;
    if (row !== last) {
      const source = this.#row(last);
      this.#copy(source, this.#row(row), 0);
    }
    this.#rows = last;
    this.#shrink();
  }

  step(ids: readonly number[], lengths: readonly number[]): Promise<readonly Float32Array[]> {
    const bound = this.#bind();
    const { plan, form, vocabulary } = this.#decoder;
    fillStep(bound.feeds, ids, lengths, this.columns);
    if (plan.appends === 'length') fillGroupedMask(bound.feeds, lengths, this.columns);
    lengths.forEach((length, row) => {
      const made = plan.appends === 'end' ? this.columns : length;
      bound.from.fill(BigInt(made), row * form.heads, (row + 1) * form.heads);
      for (let line = row * form.heads; line < (row + 1) * form.heads; line++)
        bound.to[2 * line + 1] = BigInt(length);
    });
    try {
      // What lies on the host is copied to another device when it is bound.
      if (this.#decoder.session.memory.isRemote) {
        for (const [binding, name, tensor] of bound.filled) binding.input(name, tensor);
      }
      bound.model.run();
      bound.append.run();
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error('the run failed'));
    }
    return Promise.resolve(lengths.map((_, row) => logitsRow(bound.logits, row, vocabulary)));
  }

  release(): void {
    this.#unbind();
    for (const memory of [...this.#past, ...this.#present]) memory.free();
    this.#past = [];
    this.#present = [];
    this.#rows = 0;
    this.#capacity = 0;
  }

  #take(source: readonly NativeTensor[], length: number): void {
    this.#reserve(this.#rows + 1);
    this.#copy(source, this.#row(this.#rows), this.columns - length);
    this.#rows += 1;
  }

  #copy(source: readonly NativeTensor[], target: readonly NativeTensor[], padding: number): void {
    try {
      this.#decoder.copy(source, target, this.#decoder.form.heads, padding);
    } finally {
      for (const tensor of [...source, ...target]) tensor.release();
    }
  }

  /** Memory for so many rows and a quarter more. Where there is not enough, the rows stay as they are. */
  #reserve(rows: number): void {
    if (rows <= this.#capacity) return;
    this.#resize(rows <= FEW ? rows : Math.ceil(rows * GROWTH));
  }

  /** Gives memory back when less than half of it is used; where there is none for the copy, it stays as it is. */
  #shrink(): void {
    if (this.#rows <= FEW || 2 * this.#rows > this.#capacity) return;
    try {
      this.#resize(Math.ceil(this.#rows * GROWTH));
    } catch {
      // The rows lie where they lay.
    }
  }

  #resize(capacity: number): void {
    this.#unbind();
    for (const memory of this.#present) memory.free();
    this.#present = [];
    const former = this.#past;
    const past = this.#room(capacity, this.columns);
    try {
      if (this.#rows > 0) this.#move(former, past);
    } catch (error) {
      for (const memory of past) memory.free();
      throw error;
    }
    for (const memory of former) memory.free();
    this.#past = past;
    this.#capacity = capacity;
  }

  /** Memory of each cache for so many rows. */
  #room(capacity: number, columns: number): readonly DeviceMemory[] {
    const { form, session } = this.#decoder;
    const bytes = capacity * form.heads * columns * form.width * form.elementBytes;
    return session.memory.allocateEach(form.count, bytes);
  }

  #move(former: readonly DeviceMemory[], past: readonly DeviceMemory[]): void {
    const { form } = this.#decoder;
    const lines = this.#rows * form.heads;
    const all = (memory: DeviceMemory): NativeTensor =>
      memory.tensor([lines, this.columns, form.width], form.elementType, form.elementBytes);
    const tensors = { source: former.map(all), target: past.map(all) };
    try {
      this.#decoder.copy(tensors.source, tensors.target, lines, 0);
    } finally {
      for (const tensor of [...tensors.source, ...tensors.target]) tensor.release();
    }
  }

  /** One row of each cache, seen as [heads, columns, width]. The caller releases each. */
  #row(row: number): readonly NativeTensor[] {
    const { heads, width, elementType, elementBytes } = this.#decoder.form;
    const offset = row * heads * this.columns * width * elementBytes;
    return this.#past.map((memory) =>
      memory.tensor([heads, this.columns, width], elementType, elementBytes, offset),
    );
  }

  #bind(): Bound {
    if (this.#bound?.rows === this.#rows) return this.#bound;
    this.#unbind();
    if (this.#present.length === 0) this.#present = this.#room(this.#capacity, this.columns + 1);
    this.#bound = this.#bindRows(this.#rows);
    return this.#bound;
  }

  #bindRows(rows: number): Bound {
    const { session, append, plan, form, vocabulary } = this.#decoder;
    const tensors: NativeTensor[] = [];
    const filled: [Binding, string, NativeTensor][] = [];
    const model = session.bind();
    const appended = append.bind();
    const fill = (binding: Binding, name: string, array: BigInt64Array, shape: readonly number[]): void => {
      const tensor = session.memory.over(array, shape, ELEMENT_TYPES.INT64);
      tensors.push(tensor);
      filled.push([binding, name, tensor]);
      binding.input(name, tensor);
    };
    const lines = rows * form.heads;
    const feeds = {
      input_ids: new BigInt64Array(rows),
      attention_mask: new BigInt64Array(rows * (this.columns + 1)),
      position_ids: new BigInt64Array(rows),
    };
    fill(model, 'input_ids', feeds.input_ids, [rows, 1]);
    if (plan.usesMask) fill(model, 'attention_mask', feeds.attention_mask, [rows, this.columns + 1]);
    if (plan.usesPositions) fill(model, 'position_ids', feeds.position_ids, [rows, 1]);
    const from = new BigInt64Array(lines);
    const to = BigInt64Array.from({ length: 2 * lines }, (_, i) => (i % 2 === 0 ? BigInt(i / 2) : 0n));
    fill(appended, 'from', from, [lines, 1]);
    fill(appended, 'to', to, [lines, 2]);
    tensors.push(...this.#bindCaches(model, appended, rows));
    const logits = this.#decoder.logitsArray(rows);
    const output = session.memory.over(logits, [rows, 1, vocabulary], ELEMENT_TYPES[plan.logits]);
    model.output('logits', output);
    return { rows, model, append: appended, feeds, tensors: [...tensors, output], filled, logits, from, to };
  }

  #bindCaches(model: Binding, append: Binding, rows: number): readonly NativeTensor[] {
    const { plan, form } = this.#decoder;
    const { heads, width, elementType, elementBytes } = form;
    return plan.caches.flatMap(({ past, present }, i) => {
      const view = (memory: DeviceMemory | undefined, shape: readonly number[]): NativeTensor => {
        if (!memory) throw new Error('a cache has no memory');
        return memory.tensor(shape, elementType, elementBytes);
      };
      const before = view(this.#past[i], [rows, heads, this.columns, width]);
      const after = view(this.#present[i], [rows, heads, this.columns + 1, width]);
      model.input(past, before);
      model.output(present, after);
      const cache = view(this.#past[i], [rows * heads, this.columns, width]);
      const made = view(this.#present[i], [rows * heads, this.columns + 1, width]);
      append.input(`cache.${i}`, cache);
      append.input(`present.${i}`, made);
      append.output(`next.${i}`, cache);
      return [before, after, cache, made];
    });
  }

  #unbind(): void {
    if (!this.#bound) return;
    this.#bound.model.release();
    this.#bound.append.release();
    for (const tensor of this.#bound.tensors) tensor.release();
    this.#bound = undefined;
  }
}
