import {
  type Datatype,
  EngineError,
  type LoadedModel,
  type Tensor,
  type TensorData,
  type TensorSpec,
} from './engine.ts';

/** Most elements of all inputs of one request: 64 MiB of FP32. */
export const MAX_ELEMENTS = 0x100_0000;
/** Most bytes of all outputs of one request, text in UTF-16: a model may make much of little. */
export const MAX_OUTPUT_BYTES = 0x1000_0000;
/** Most UTF-16 units of one request's BYTES elements. */
const MAX_TEXT_UNITS = 0x100_0000;
const MAX_RANK = 16;

/** Name of each datatype in onnxruntime. */
export const RUNTIME_TYPES = {
  BOOL: 'bool',
  UINT8: 'uint8',
  UINT16: 'uint16',
  UINT32: 'uint32',
  UINT64: 'uint64',
  INT8: 'int8',
  INT16: 'int16',
  INT32: 'int32',
  INT64: 'int64',
  FP16: 'float16',
  FP32: 'float32',
  FP64: 'float64',
  BYTES: 'string',
} as const satisfies Record<Datatype, string>;

const DATATYPES: ReadonlyMap<string, Datatype> = new Map(
  Object.entries(RUNTIME_TYPES).map(([datatype, name]) => [name, datatype as Datatype]),
);

/** The datatype of a runtime type; undefined for what has none here, such as four-bit integers. */
export function datatypeOf(runtimeType: string): Datatype | undefined {
  return DATATYPES.get(runtimeType);
}

/** Kind of typed array that holds each datatype. */
const ARRAYS = {
  BOOL: 'Uint8Array',
  UINT8: 'Uint8Array',
  UINT16: 'Uint16Array',
  UINT32: 'Uint32Array',
  UINT64: 'BigUint64Array',
  INT8: 'Int8Array',
  INT16: 'Int16Array',
  INT32: 'Int32Array',
  INT64: 'BigInt64Array',
  FP16: 'Uint16Array',
  FP32: 'Float32Array',
  FP64: 'Float64Array',
} as const;

const invalid = (message: string): EngineError => new EngineError('INVALID_INPUT', message);

/** Refuses inputs that do not fit the model's declaration. Names are the model's own, never the request's. */
export function requireInputs(model: LoadedModel, inputs: readonly Tensor[]): void {
  if (inputs.length > model.inputs.length) {
    throw invalid(`${inputs.length} inputs given, the model has ${model.inputs.length}`);
  }
  let elements = 0;
  let units = 0;
  for (const spec of model.inputs) {
    const given = inputs.filter((input) => input.name === spec.name);
    const [tensor] = given;
    if (!tensor || given.length > 1)
      throw invalid(`input ${spec.name} is needed once, given ${given.length} times`);
    requireFit(spec, tensor);
    elements += tensor.data.length;
    units += textUnits(tensor.data);
  }
  if (elements > MAX_ELEMENTS) throw invalid(`${elements} elements in all inputs, at most ${MAX_ELEMENTS}`);
  if (units > MAX_TEXT_UNITS) throw invalid(`${units} characters in all inputs, at most ${MAX_TEXT_UNITS}`);
}

function requireFit(spec: TensorSpec, { datatype, shape, data }: Tensor): void {
  const wanted = `${spec.datatype} [${spec.shape.join(', ')}]`;
  if (datatype !== spec.datatype || !isArrayOf(datatype, data)) {
    throw invalid(
      `input ${spec.name} is ${wanted}, given ${Object.hasOwn(RUNTIME_TYPES, datatype) ? datatype : 'another datatype'}`,
    );
  }
  if (shape.length > MAX_RANK || !shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw invalid(`input ${spec.name}: the shape is at most ${MAX_RANK} whole numbers from zero up`);
  }
  if (!shapeFits(spec.shape, shape))
    throw invalid(`input ${spec.name} is ${wanted}, given [${shape.join(', ')}]`);
  const elements = shape.reduce((product, size) => product * size, 1);
  if (elements !== data.length) {
    throw invalid(`input ${spec.name}: the shape has ${elements} elements, the data ${data.length}`);
  }
  requireText(spec.name, data);
}

/** The binding hands text over up to its first NUL and says nothing: a model would see other text than was sent. */
function requireText(name: string, data: TensorData): void {
  if (!Array.isArray(data)) return;
  const at = (data as readonly string[]).findIndex((text) => text.includes('\0'));
  if (at !== -1)
    throw invalid(`input ${name}: element ${at} has a NUL, which text of the runtime cannot hold`);
}

/** Refuses outputs that are too large to be passed on. */
export function requireOutputs(outputs: readonly Tensor[]): void {
  const bytes = outputs.reduce((sum, { data }) => sum + outputBytes(data), 0);
  if (bytes > MAX_OUTPUT_BYTES) throw invalid(`all outputs have ${bytes} bytes, at most ${MAX_OUTPUT_BYTES}`);
}

const outputBytes = (data: TensorData): number =>
  ArrayBuffer.isView(data) ? data.byteLength : 2 * textUnits(data);

/** A declared shape of rank 0 is a scalar or unknown, which the runtime does not tell apart: it judges the shape. */
function shapeFits(declared: readonly number[], given: readonly number[]): boolean {
  if (declared.length === 0) return true;
  return declared.length === given.length && declared.every((size, i) => size === -1 || size === given[i]);
}

function isArrayOf(datatype: Datatype, data: TensorData): boolean {
  if (datatype === 'BYTES') return Array.isArray(data) && data.every((item) => typeof item === 'string');
  return ArrayBuffer.isView(data) && data[Symbol.toStringTag] === ARRAYS[datatype];
}

function textUnits(data: TensorData): number {
  return Array.isArray(data) ? (data as readonly string[]).reduce((sum, text) => sum + text.length, 0) : 0;
}

/** IEEE 754 binary16 to a number. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The raw bits of binary16 values: newer versions of Node give them as `Float16Array`. */
export function halfBits(data: ArrayBufferView & { readonly length: number }): Uint16Array {
  return data instanceof Uint16Array ? data : new Uint16Array(data.buffer, data.byteOffset, data.length);
}
