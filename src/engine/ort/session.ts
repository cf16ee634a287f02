import { Tensor as RuntimeTensor } from 'onnxruntime-node';
import type { Datatype, TensorSpec } from '../engine.ts';
import type { SessionFiles, SessionSettings } from '../session.ts';
import { RUNTIME_TYPES } from '../tensors.ts';
import { Binding } from './binding.ts';
import type { Pointer, RuntimeLibrary } from './library.ts';
import { MemoryPool, type NativeTensor } from './memory.ts';

/** Numbers of `ONNXTensorElementDataType`. */
export const ELEMENT_TYPES = {
  FP32: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  BOOL: 9,
  FP16: 10,
  FP64: 11,
  UINT32: 12,
  UINT64: 13,
} as const satisfies Partial<Record<Datatype, number>>;

type NativeDatatype = keyof typeof ELEMENT_TYPES;

const DATATYPES: ReadonlyMap<number, NativeDatatype> = new Map(
  Object.entries(ELEMENT_TYPES).map(([datatype, type]) => [type, datatype as NativeDatatype]),
);

/** Typed array of each element type, for results. */
const ARRAYS = {
  FP32: Float32Array,
  UINT8: Uint8Array,
  INT8: Int8Array,
  UINT16: Uint16Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  BOOL: Uint8Array,
  FP16: Uint16Array,
  FP64: Float64Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
} as const;

/**
 * Not run on the processor: it folds the scale of attention into the product of query and keys, and for a product with
 * a scale the runtime has no kernel for single rows. Without it a step of 16 rows over 128 columns takes a fifth less.
 */
const SCALE_FUSION = 'MatMulScaleFusion';

const SEQUENTIAL = 0;
/** `ORT_ENABLE_ALL`. */
const ALL_OPTIMISATIONS = 99;
const FATAL = 4;

type Side = 'Input' | 'Output';

/** A session of the runtime's C interface: its tensors may stay where the provider computes. */
export class NativeSession {
  readonly runtime: RuntimeLibrary;
  readonly inputs: readonly TensorSpec[];
  /** Outputs that are tensors of a type there is here; others are never computed. */
  readonly outputs: readonly TensorSpec[];
  readonly memory: MemoryPool;
  readonly #session: Pointer;

  /** Throws `RuntimeFailure`. External weights must live as long as the session. */
  constructor(
    library: RuntimeLibrary,
    files: Pick<SessionFiles, 'weights' | 'external'>,
    settings: SessionSettings,
  ) {
    this.runtime = library;
    this.#session = createSession(library, files, settings);
    try {
      this.memory = new MemoryPool(library, this.#session, settings);
      this.inputs = this.#specs('Input');
      this.outputs = this.#specs('Output');
    } catch (error) {
      library.free('ReleaseSession', this.#session);
      throw error;
    }
  }

  bind(): Binding {
    return new Binding(this.runtime, this.#session);
  }

  /** Runs over tensors in the host's memory, as the binding of onnxruntime-node does. Not for text. */
  run(
    feeds: Readonly<Record<string, RuntimeTensor>>,
    names: readonly string[],
  ): Promise<Record<string, RuntimeTensor>> {
    const binding = this.bind();
    const given: NativeTensor[] = [];
    try {
      for (const [name, tensor] of Object.entries(feeds)) {
        const native = this.memory.over(
          tensor.data as ArrayBufferView,
          tensor.dims,
          elementType(tensor.type),
        );
        given.push(native);
        binding.input(name, native);
      }
      for (const name of names) binding.outputToHost(name, this.memory.host);
      binding.run();
      const values = binding.takeOutputs(this.memory.hostAllocator);
      return Promise.resolve(Object.fromEntries(names.map((name, i) => [name, this.#take(values[i] ?? 0n)])));
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error('the run failed'));
    } finally {
      binding.release();
      for (const tensor of given) tensor.release();
    }
  }

  release(): Promise<void> {
    this.memory.release();
    this.runtime.free('ReleaseSession', this.#session);
    return Promise.resolve();
  }

  /** Copies a value of the host's memory and frees it. */
  #take(value: Pointer): RuntimeTensor {
    const info = this.runtime.make('GetTensorTypeAndShape', value);
    try {
      const { datatype, shape } = describe(this.runtime, info);
      if (datatype === undefined) throw new Error('an output has a type that tensors do not have here');
      const elements = shape.reduce((product, size) => product * size, 1);
      const bytes = elements * ARRAYS[datatype].BYTES_PER_ELEMENT;
      const source = this.runtime.make('GetTensorMutableData', value);
      const data = bytes === 0 ? new ArrayBuffer(0) : this.runtime.view(source, bytes).slice(0);
      // The overloads of the constructor want each pair of type and array by itself.
      return new RuntimeTensor(
        RUNTIME_TYPES[datatype] as 'float32',
        new ARRAYS[datatype](data) as Float32Array,
        shape,
      );
    } finally {
      this.runtime.free('ReleaseTensorTypeAndShapeInfo', info);
      this.runtime.free('ReleaseValue', value);
    }
  }

  #specs(side: Side): readonly TensorSpec[] {
    const count = this.runtime.count(`SessionGet${side}Count`, this.#session);
    return Array.from({ length: count }, (_, i) => this.#spec(side, i)).filter((spec) => spec !== undefined);
  }

  #spec(side: Side, index: number): TensorSpec | undefined {
    const { runtime: library } = this;
    const text = library.make(`SessionGet${side}Name`, this.#session, index, this.memory.hostAllocator);
    const name = library.text(text);
    library.call('AllocatorFree', this.memory.hostAllocator, text);
    const type = library.make(`SessionGet${side}TypeInfo`, this.#session, index);
    try {
      const info = library.make('CastTypeInfoToTensorInfo', type);
      const { datatype, shape } = info === 0n ? { datatype: undefined, shape: [] } : describe(library, info);
      if (datatype === undefined && side === 'Input')
        throw new Error(`${name} has a type that tensors do not have here`);
      return datatype && { name, datatype, shape };
    } finally {
      library.free('ReleaseTypeInfo', type);
    }
  }
}

/** Optimizers of graphs that sessions of this interface do without, as the runtime names them. */
export function disabledOptimizers({ provider }: Pick<SessionSettings, 'provider'>): string | undefined {
  return provider === 'cpu' ? SCALE_FUSION : undefined;
}

function createSession(
  library: RuntimeLibrary,
  { weights, external }: Pick<SessionFiles, 'weights' | 'external'>,
  settings: SessionSettings,
): Pointer {
  const options = library.make('CreateSessionOptions');
  try {
    library.call('SetSessionExecutionMode', options, SEQUENTIAL);
    library.call('SetSessionGraphOptimizationLevel', options, ALL_OPTIMISATIONS);
    library.call('SetIntraOpNumThreads', options, settings.threads);
    library.call('SetInterOpNumThreads', options, 1);
    library.call('SetSessionLogSeverityLevel', options, FATAL);
    // The arena and the memory pattern keep the peak of every shape that was ever seen.
    library.call('DisableCpuMemArena', options);
    library.call('DisableMemPattern', options);
    library.call('AddSessionConfigEntry', options, 'session.intra_op.allow_spinning', '0');
    const off = disabledOptimizers(settings);
    if (off !== undefined)
      library.call('AddSessionConfigEntry', options, 'optimization.disable_specified_optimizers', off);
    if (settings.provider === 'cuda') appendCuda(library, options, settings);
    addExternal(library, options, external);
    return library.make('CreateSessionFromArray', library.environment, weights, weights.length, options);
  } finally {
    library.free('ReleaseSessionOptions', options);
  }
}

/** With CUDA no node may fall back to the CPU, so the provider that was asked for is the one that runs. */
function appendCuda(library: RuntimeLibrary, options: Pointer, settings: SessionSettings): void {
  library.call('AddSessionConfigEntry', options, 'session.disable_cpu_ep_fallback', '1');
  const cuda = library.make('CreateCUDAProviderOptions');
  try {
    const entries = Object.entries(cudaOptions(settings));
    const keys = new NativeTexts(
      library,
      entries.map(([key]) => key),
    );
    const values = new NativeTexts(
      library,
      entries.map(([, value]) => value),
    );
    library.call('UpdateCUDAProviderOptions', cuda, keys.pointers, values.pointers, entries.length);
    keys.release();
    values.release();
    library.call('SessionOptionsAppendExecutionProvider_CUDA_V2', options, cuda);
  } finally {
    library.free('ReleaseCUDAProviderOptions', cuda);
  }
}

/** Options of the CUDA provider, as the runtime names them. */
export function cudaOptions({ device, deviceMemoryBytes }: SessionSettings): Record<string, string> {
  return {
    device_id: String(device),
    arena_extend_strategy: 'kSameAsRequested',
    use_tf32: '0',
    ...(deviceMemoryBytes !== undefined && { gpu_mem_limit: String(deviceMemoryBytes) }),
  };
}

function addExternal(library: RuntimeLibrary, options: Pointer, external: SessionFiles['external']): void {
  if (external.size === 0) return;
  const names = new NativeTexts(library, [...external.keys()]);
  const buffers = BigUint64Array.from([...external.values()], (bytes) => library.address(bytes));
  const lengths = BigUint64Array.from([...external.values()], (bytes) => BigInt(bytes.length));
  library.call(
    'AddExternalInitializersFromFilesInMemory',
    options,
    names.pointers,
    buffers,
    lengths,
    external.size,
  );
  names.release();
}

/** Texts as the runtime reads them. */
class NativeTexts {
  readonly pointers: BigUint64Array;
  readonly #bytes: readonly Uint8Array[];

  constructor(library: RuntimeLibrary, values: readonly string[]) {
    this.#bytes = values.map((value) => Buffer.from(`${value}\0`));
    this.pointers = BigUint64Array.from(this.#bytes, (bytes) => library.address(bytes));
  }

  /** Say when they are needed no more: an array that nobody holds is given to the collector. */
  release(): void {
    this.pointers.fill(0n, 0, this.#bytes.length);
  }
}

function describe(
  library: RuntimeLibrary,
  info: Pointer,
): { readonly datatype: NativeDatatype | undefined; readonly shape: readonly number[] } {
  const type = new Int32Array(2);
  library.call('GetTensorElementType', info, type);
  const rank = library.count('GetDimensionsCount', info);
  const dimensions = new BigInt64Array(rank);
  if (rank > 0) library.call('GetDimensions', info, dimensions, rank);
  return { datatype: DATATYPES.get(type[0] ?? 0), shape: Array.from(dimensions, Number) };
}

function elementType(runtimeType: string): number {
  const datatype = Object.entries(RUNTIME_TYPES).find(([, name]) => name === runtimeType)?.[0];
  const type = datatype === undefined ? undefined : ELEMENT_TYPES[datatype as NativeDatatype];
  if (type === undefined) throw new Error('text does not pass through this interface');
  return type;
}
