import type { Datatype, Tensor, TensorData } from '../engine/engine.ts';
import { ServiceError } from './errors.ts';

/**
 * Raw tensors of Triton's binary tensor data extension: little-endian, row-major, without padding. The platforms of
 * the runtime are little-endian, so typed arrays have this layout in memory.
 */
export const ARRAYS = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const;

/** Bytes of the length before each element of BYTES. */
const PREFIX = 4;

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes of one element; undefined for BYTES. */
export function elementSize(datatype: Datatype): number | undefined {
  return datatype === 'BYTES' ? undefined : ARRAYS[datatype].BYTES_PER_ELEMENT;
}

export function countElements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The values of one input; refused unless the bytes are exactly those of its shape. */
export function readBinaryTensor(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  bytes: Uint8Array,
): TensorData {
  const elements = countElements(shape);
  if (datatype === 'BYTES') return readTexts(name, elements, bytes);
  const array = ARRAYS[datatype];
  if (elements * array.BYTES_PER_ELEMENT !== bytes.length) {
    throw new ServiceError(
      'SHAPE_MISMATCH',
      `input ${name}: the shape has ${elements} elements of ${array.BYTES_PER_ELEMENT} bytes, ${bytes.length} bytes were given`,
      'inputs',
    );
  }
  if (datatype === 'BOOL' && bytes.some((byte) => byte > 1)) throw invalid(name, 'a BOOL is neither 0 nor 1');
  // A copy of its own: the place in the body is not aligned to the elements.
  return new array(new Uint8Array(bytes).buffer);
}

function readTexts(name: string, elements: number, bytes: Uint8Array): readonly string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const texts: string[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const start = offset + PREFIX;
    const end = start > bytes.length ? Infinity : start + view.getUint32(offset, true);
    if (end > bytes.length) throw invalid(name, `element ${texts.length} passes the end of the tensor`);
    texts.push(readText(name, texts.length, bytes.subarray(start, end)));
    offset = end;
  }
  if (texts.length !== elements) {
    throw new ServiceError(
      'SHAPE_MISMATCH',
      `input ${name}: the shape has ${elements} elements, the tensor ${texts.length}`,
      'inputs',
    );
  }
  return texts;
}

/** One element of BYTES. String tensors of the runtime are text: other bytes would come out as others. */
export function readText(name: string, element: number, bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw invalid(name, `element ${element} is no UTF-8, and string tensors of the runtime are text`);
  }
}

/** The bytes of one output. */
export function writeBinaryTensor({ datatype, data }: Tensor): Uint8Array {
  if (datatype !== 'BYTES') {
    const values = data as Exclude<TensorData, readonly string[]>;
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  }
  const texts = (data as readonly string[]).map((text) => Buffer.from(text));
  return Buffer.concat(
    texts.flatMap((text) => {
      const length = Buffer.alloc(PREFIX);
      length.writeUInt32LE(text.length);
      return [length, text];
    }),
  );
}

function invalid(name: string, message: string): ServiceError {
  return new ServiceError('INVALID_INPUT', `input ${name}: ${message}`, 'inputs');
}
