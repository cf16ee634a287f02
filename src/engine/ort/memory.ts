import type { SessionSettings } from '../session.ts';
import type { Pointer, RuntimeLibrary } from './library.ts';

/** `OrtDeviceAllocator` and `OrtMemTypeDefault`. */
const DEVICE_ALLOCATOR = 0;
const DEFAULT_MEMORY = 0;

/** A tensor over memory that somebody else owns. */
export interface NativeTensor {
  readonly value: Pointer;
  /** An array of the host is not collected while its tensor is held. */
  readonly memory: Pointer | ArrayBufferView;
  release(): void;
}

/** Memory where the provider computes. Free it once: the runtime does not count references. */
export class DeviceMemory {
  readonly bytes: number;
  readonly #pool: MemoryPool;
  #pointer: Pointer;

  constructor(pool: MemoryPool, pointer: Pointer, bytes: number) {
    this.#pool = pool;
    this.#pointer = pointer;
    this.bytes = bytes;
  }

  /** A tensor of this shape from an offset in bytes. */
  tensor(shape: readonly number[], elementType: number, elementBytes: number, offset = 0): NativeTensor {
    const bytes = shape.reduce((product, size) => product * size, elementBytes);
    if (this.#pointer === 0n || offset + bytes > this.bytes) throw new Error('a tensor passes its memory');
    return this.#pool.at(this.#pointer + BigInt(offset), bytes, shape, elementType);
  }

  free(): void {
    if (this.#pointer !== 0n) this.#pool.free(this.#pointer, this.bytes);
    this.#pointer = 0n;
  }
}

/** What a session allocates, and where: `host` is the processor's memory, `device` the provider's. */
export class MemoryPool {
  readonly host: Pointer;
  readonly device: Pointer;
  /** Of the runtime: never freed. */
  readonly hostAllocator: Pointer;
  readonly #library: RuntimeLibrary;
  readonly #allocator: Pointer;
  #allocated = 0;

  constructor(library: RuntimeLibrary, session: Pointer, { provider, device }: SessionSettings) {
    this.#library = library;
    this.host = library.make('CreateMemoryInfo', 'Cpu', DEVICE_ALLOCATOR, 0, DEFAULT_MEMORY);
    this.device =
      provider === 'cuda'
        ? library.make('CreateMemoryInfo', 'Cuda', DEVICE_ALLOCATOR, device, DEFAULT_MEMORY)
        : this.host;
    this.hostAllocator = library.make('GetAllocatorWithDefaultOptions');
    this.#allocator = library.make('CreateAllocator', session, this.device);
  }

  /** Bytes that are allocated now. */
  get allocated(): number {
    return this.#allocated;
  }

  /** Whether tensors of the host are copied when they are bound. */
  get isRemote(): boolean {
    return this.device !== this.host;
  }

  allocate(bytes: number): DeviceMemory {
    // Empty tensors need an address, too.
    const size = Math.max(bytes, 1);
    const pointer = this.#library.make('AllocatorAlloc', this.#allocator, size);
    if (pointer === 0n) throw new Error(`${size} bytes cannot be allocated`);
    this.#allocated += size;
    return new DeviceMemory(this, pointer, size);
  }

  /** So many blocks of memory, or none where there is not enough. */
  allocateEach(count: number, bytes: number): readonly DeviceMemory[] {
    const blocks: DeviceMemory[] = [];
    try {
      for (let i = 0; i < count; i++) blocks.push(this.allocate(bytes));
      return blocks;
    } catch (error) {
      for (const block of blocks) block.free();
      throw error;
    }
  }

  /** A tensor over an array of the host, which lives as long. */
  over(array: ArrayBufferView, shape: readonly number[], elementType: number): NativeTensor {
    // The runtime wants an address even where there is nothing.
    const memory = array.byteLength === 0 ? new Uint8Array(8) : array;
    return this.#tensor(this.host, memory, array.byteLength, shape, elementType);
  }

  /** A tensor over memory of the device. */
  at(pointer: Pointer, bytes: number, shape: readonly number[], elementType: number): NativeTensor {
    return this.#tensor(this.device, pointer, bytes, shape, elementType);
  }

  free(pointer: Pointer, bytes: number): void {
    this.#library.call('AllocatorFree', this.#allocator, pointer);
    this.#allocated -= bytes;
  }

  release(): void {
    this.#library.free('ReleaseAllocator', this.#allocator);
    if (this.isRemote) this.#library.free('ReleaseMemoryInfo', this.device);
    this.#library.free('ReleaseMemoryInfo', this.host);
  }

  #tensor(
    info: Pointer,
    memory: Pointer | ArrayBufferView,
    bytes: number,
    shape: readonly number[],
    elementType: number,
  ): NativeTensor {
    const library = this.#library;
    const dimensions = BigInt64Array.from(shape, BigInt);
    const value = library.make(
      'CreateTensorWithDataAsOrtValue',
      info,
      memory,
      bytes,
      dimensions,
      shape.length,
      elementType,
    );
    return { value, memory, release: () => library.free('ReleaseValue', value) };
  }
}
