import type { Datatype, Tensor, TensorData } from '../engine/engine.ts';
import { EngineError } from '../engine/engine.ts';
import { fromHalf } from '../engine/tensors.ts';
import { ServiceError } from './errors.ts';
import { countElements } from './tensorBinary.ts';

const DECIMAL = /^-?\d{1,20}$/;

/** Reads the values of one input, whose name refusals say. */
type Reader = (name: string, values: readonly unknown[]) => TensorData;

const READERS: Readonly<Record<Datatype, Reader>> = {
  BOOL: (name, values) => Uint8Array.from(values, (value) => readBoolean(name, value)),
  UINT8: (name, values) => Uint8Array.from(readIntegers(name, values, 0, 0xff)),
  UINT16: (name, values) => Uint16Array.from(readIntegers(name, values, 0, 0xffff)),
  UINT32: (name, values) => Uint32Array.from(readIntegers(name, values, 0, 0xffff_ffff)),
  UINT64: (name, values) => BigUint64Array.from(readWide(name, values, 0n, 2n ** 64n - 1n)),
  INT8: (name, values) => Int8Array.from(readIntegers(name, values, -0x80, 0x7f)),
  INT16: (name, values) => Int16Array.from(readIntegers(name, values, -0x8000, 0x7fff)),
  INT32: (name, values) => Int32Array.from(readIntegers(name, values, -0x8000_0000, 0x7fff_ffff)),
  INT64: (name, values) => BigInt64Array.from(readWide(name, values, -(2n ** 63n), 2n ** 63n - 1n)),
  FP16: (name, values) => Uint16Array.from(values, (value) => toHalf(name, readNumber(name, value))),
  FP32: (name, values) => Float32Array.from(values, (value) => readSingle(name, value)),
  FP64: (name, values) => Float64Array.from(values, (value) => readNumber(name, value)),
  BYTES: (name, values) => values.map((value) => readText(name, value)),
};

/** The row-major values of a tensor, from a flat list or from one that is nested exactly as the shape is. */
export function readTensorData(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  data: unknown,
): TensorData {
  if (!Array.isArray(data)) throw invalid(name, 'data is no list');
  const values: readonly unknown[] = (data as readonly unknown[]).some(Array.isArray)
    ? nested(name, data, shape)
    : data;
  const elements = countElements(shape);
  if (values.length !== elements) {
    throw mismatch(name, `the shape has ${elements} elements, data ${values.length}`);
  }
  return READERS[datatype](name, values);
}

function nested(name: string, data: unknown, shape: readonly number[]): readonly unknown[] {
  const values: unknown[] = [];
  flatten(name, data, values, shape);
  return values;
}

function flatten(name: string, data: unknown, into: unknown[], shape: readonly number[]): void {
  const [size, ...rest] = shape;
  if (!Array.isArray(data) || data.length !== size)
    throw mismatch(name, 'data is not nested as the shape is');
  for (const item of data as readonly unknown[]) {
    if (rest.length > 0) flatten(name, item, into, rest);
    else if (Array.isArray(item)) throw mismatch(name, 'data is nested deeper than the shape');
    else into.push(item);
  }
}

function readNumber(name: string, value: unknown): number {
  if (typeof value !== 'number') throw invalid(name, 'data holds something else than numbers');
  return requireFinite(name, value);
}

function requireFinite(name: string, value: number): number {
  if (!Number.isFinite(value)) throw invalid(name, 'data holds a number out of range');
  return value;
}

function readSingle(name: string, value: unknown): number {
  return requireFinite(name, Math.fround(readNumber(name, value)));
}

function readIntegers(name: string, values: readonly unknown[], min: number, max: number): readonly number[] {
  for (const value of values) {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw invalid(name, `data holds something else than whole numbers from ${min} to ${max}`);
    }
  }
  return values as readonly number[];
}

/** JSON numbers are exact up to 2^53 here; beyond, decimal text is. */
function readWide(name: string, values: readonly unknown[], min: bigint, max: bigint): readonly bigint[] {
  return values.map((value) => {
    const exact =
      typeof value === 'number'
        ? Number.isSafeInteger(value)
        : typeof value === 'string' && DECIMAL.test(value);
    const wide = exact ? BigInt(value as number | string) : undefined;
    if (wide === undefined || wide < min || wide > max) {
      throw invalid(
        name,
        'data holds something else than 64-bit whole numbers; beyond 2^53 write decimal text',
      );
    }
    return wide;
  });
}

function readBoolean(name: string, value: unknown): number {
  if (value === true || value === 1) return 1;
  if (value === false || value === 0) return 0;
  throw invalid(name, 'data holds something else than true and false');
}

function readText(name: string, value: unknown): string {
  if (typeof value !== 'string') throw invalid(name, 'data holds something else than text');
  return value;
}

/** Nearest binary16 of a number, ties to even. */
function toHalf(name: string, value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65_520) throw invalid(name, 'data holds a number beyond FP16');
  // Below 2^-14 the steps are 2^-24; above, 2^-10 of the power of two.
  const exponent = Math.max(-14, Math.floor(Math.log2(size || 1)));
  const steps = roundHalfEven(size / 2 ** (exponent - 10));
  return sign | (size < 2 ** -14 ? roundHalfEven(size * 2 ** 24) : ((exponent + 14) << 10) + steps);
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest === 0.5) return floor + (floor % 2);
  return rest > 0.5 ? floor + 1 : floor;
}

/** The values as a flat JSON list. 64-bit integers keep all their digits. */
export function writeTensorData({ name, datatype, data }: Tensor): string {
  if (datatype === 'BYTES') return JSON.stringify(data);
  const values = data as Exclude<TensorData, readonly string[]>;
  if (datatype === 'BOOL') return `[${Array.from(values as Uint8Array, (bit) => bit !== 0).join(',')}]`;
  if (datatype === 'FP16') return writeNumbers(name, Array.from(values as Uint16Array, fromHalf));
  return datatype.startsWith('FP') ? writeNumbers(name, values as Float32Array) : `[${values.join(',')}]`;
}

function writeNumbers(name: string, values: Float32Array | Float64Array | readonly number[]): string {
  for (const value of values) {
    if (!Number.isFinite(value)) {
      throw new EngineError(
        'ENGINE_FAILED',
        `output ${name} has a number that is not finite, which JSON lacks: ask for it as binary_data`,
      );
    }
  }
  return `[${values.join(',')}]`;
}

function mismatch(name: string, message: string): ServiceError {
  return new ServiceError('SHAPE_MISMATCH', `input ${name}: ${message}`, 'inputs');
}

function invalid(name: string, message: string): ServiceError {
  return new ServiceError('INVALID_INPUT', `input ${name}: ${message}`, 'inputs');
}
