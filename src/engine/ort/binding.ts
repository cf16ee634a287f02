import type { Pointer, RuntimeLibrary } from './library.ts';
import type { NativeTensor } from './memory.ts';

const POINTER_BYTES = 8;

/** Where one session finds its inputs and puts its outputs. */
export class Binding {
  readonly #library: RuntimeLibrary;
  readonly #session: Pointer;
  readonly #binding: Pointer;
  #outputs = 0;

  constructor(library: RuntimeLibrary, session: Pointer) {
    this.#library = library;
    this.#session = session;
    this.#binding = library.make('CreateIoBinding', session);
  }

  /** A tensor of the host is copied to the device now, and not when the session runs. */
  input(name: string, tensor: NativeTensor): void {
    this.#library.call('BindInput', this.#binding, name, tensor.value);
  }

  /** The output is written into this tensor, which has its shape. */
  output(name: string, tensor: NativeTensor): void {
    this.#library.call('BindOutput', this.#binding, name, tensor.value);
  }

  /** The runtime allocates the output in the host's memory. */
  outputToHost(name: string, host: Pointer): void {
    this.#library.call('BindOutputToDevice', this.#binding, name, host);
    this.#outputs += 1;
  }

  run(): void {
    this.#library.call('RunWithBinding', this.#session, null, this.#binding);
  }

  /** Values that the runtime allocated, in the order of their binding; the caller frees each. */
  takeOutputs(allocator: Pointer): readonly Pointer[] {
    const list = new BigUint64Array(1);
    const count = new BigUint64Array(1);
    this.#library.call('GetBoundOutputValues', this.#binding, allocator, list, count);
    if (Number(count[0]) !== this.#outputs) throw new Error('the runtime gives another number of outputs');
    const pointer = list[0] ?? 0n;
    if (this.#outputs === 0 || pointer === 0n) return [];
    const values = [...new BigUint64Array(this.#library.view(pointer, this.#outputs * POINTER_BYTES))];
    this.#library.call('AllocatorFree', allocator, pointer);
    return values;
  }

  release(): void {
    this.#library.free('ReleaseIoBinding', this.#binding);
  }
}
