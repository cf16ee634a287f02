import type { Tensor } from '../engine/engine.ts';
import { writeBinaryTensor } from '../http/tensorBinary.ts';
import { writeContents } from './contents.ts';
import { lengthField, textField, varintSize, writeVarint } from './wire.ts';

export interface InferAnswer {
  readonly model: string;
  readonly version: string;
  readonly id: string;
  readonly outputs: readonly Tensor[];
  /** Values as raw bytes. FP16 has no other form, and a message has one form for all of its outputs. */
  readonly raw: boolean;
}

/**
 * The bytes of a `ModelInferResponse`, written from the memory of the tensors: the libraries make an object of every
 * number first.
 */
export function writeInferResponse({ model, version, id, outputs, raw }: InferAnswer): Uint8Array {
  const isRaw = raw || outputs.some(({ datatype }) => datatype === 'FP16');
  return Buffer.concat([
    ...textField(1, model),
    ...textField(2, version),
    ...textField(3, id),
    ...outputs.flatMap((output) => lengthField(5, ...headOf(output), ...(isRaw ? [] : valuesOf(output)))),
    ...(isRaw ? outputs.flatMap((output) => lengthField(6, writeBinaryTensor(output))) : []),
  ]);
}

function headOf({ name, datatype, shape }: Tensor): readonly Uint8Array[] {
  return [
    ...textField(1, name),
    ...textField(2, datatype),
    ...(shape.length > 0 ? lengthField(3, packShape(shape)) : []),
  ];
}

function valuesOf({ datatype, data }: Tensor): readonly Uint8Array[] {
  return datatype === 'FP16' ? [] : lengthField(5, ...writeContents(datatype, data));
}

function packShape(shape: readonly number[]): Uint8Array {
  const halves = shape.map((size) => [size >>> 0, Math.floor(size / 2 ** 32)] as const);
  const packed = new Uint8Array(halves.reduce((sum, [low, high]) => sum + varintSize(low, high), 0));
  let offset = 0;
  for (const [low, high] of halves) offset = writeVarint(packed, offset, low, high);
  return packed;
}
