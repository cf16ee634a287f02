import type { DeviceMemory, NativeTensor } from '../ort/memory.ts';
import type { Prefix, Slab } from './decoder.ts';
import type { NativeDecoder } from './native.ts';
import { StepBinding } from './stepBinding.ts';

/** Room for rows to come: caches are copied when it is used up. */
const GROWTH = 1.25;
/** So many rows have exactly the memory that they need. */
const FEW = 4;

/** Rows in one block of memory for each cache; a step writes its new column in place. */
export class NativeSlab implements Slab {
  readonly columns: number;
  readonly #decoder: NativeDecoder;
  #rows = 0;
  #capacity = 0;
  #past: readonly DeviceMemory[] = [];
  /** What the model gives back where caches do not grow in place. */
  #present: readonly DeviceMemory[] = [];
  #bound: StepBinding | undefined;

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
    try {
      return Promise.resolve(this.#bind().run(ids, lengths));
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error('the run failed'));
    }
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

  #bind(): StepBinding {
    if (this.#bound?.rows === this.#rows) return this.#bound;
    this.#unbind();
    if (!this.#decoder.inPlace && this.#present.length === 0)
      this.#present = this.#room(this.#capacity, this.columns + 1);
    const memory = { columns: this.columns, past: this.#past, present: this.#present };
    this.#bound = new StepBinding(this.#decoder, this.#rows, memory);
    return this.#bound;
  }

  #unbind(): void {
    this.#bound?.release();
    this.#bound = undefined;
  }
}
