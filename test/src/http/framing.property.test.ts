import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Datatype, Tensor } from '../../../src/engine/engine.ts';
import { ServiceError } from '../../../src/http/errors.ts';
import { elementSize, readBinaryTensor, writeBinaryTensor } from '../../../src/http/tensorBinary.ts';
import { readFraming } from '../../../src/http/tensorFraming.ts';
import { readTensorRequest, type TensorModel } from '../../../src/http/tensorRequest.ts';
import { propertyRuns } from '../../support/runs.ts';
import { framed } from '../../support/tensors.ts';

const NUMBERS: readonly Datatype[] = [
  'UINT8',
  'UINT16',
  'UINT32',
  'UINT64',
  'INT8',
  'INT16',
  'INT32',
  'INT64',
  'FP16',
  'FP32',
  'FP64',
];

const MODEL: TensorModel = {
  id: 'm',
  inputs: [{ name: 'x', datatype: 'INT16', shape: [-1] }],
  outputs: [{ name: 'y', datatype: 'INT16', shape: [-1] }],
};

const numeric = fc
  .tuple(fc.constantFrom(...NUMBERS), fc.nat({ max: 6 }), fc.nat({ max: 6 }))
  .chain(([datatype, rows, columns]) => {
    const length = rows * columns * elementSize(datatype)!;
    const bytes = fc.uint8Array({ minLength: length, maxLength: length });
    return fc.record({ datatype: fc.constant(datatype), shape: fc.constant([rows, columns]), bytes });
  });
const textual = fc.array(fc.string({ unit: 'binary' }), { maxLength: 6 }).map((elements) => ({
  datatype: 'BYTES' as const,
  shape: [elements.length],
  bytes: writeBinaryTensor({ name: 'x', datatype: 'BYTES', shape: [elements.length], data: elements }),
}));
const tensors = fc.array(fc.oneof(numeric, textual), { minLength: 1, maxLength: 5 });

/** The outcome, where the only failure that may be is a coded refusal. */
function outcomeOf<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ServiceError && error.status >= 400 && error.status < 500) return undefined;
    throw error;
  }
}

const rawOf = (inputs: readonly Tensor[]): readonly Buffer[] =>
  inputs.map((input) => Buffer.from(writeBinaryTensor(input)));

describe('the binary framing', () => {
  test('gives each input exactly its bytes', () => {
    fc.assert(
      fc.property(tensors, (list) => {
        const inputs = list.map((tensor, i) => ({ ...tensor, name: `x${i}` }));
        const { body, jsonLength } = framed(inputs);
        const read = readTensorRequest({ bytes: body, jsonLength }, MODEL);
        expect(read.inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape }))).toEqual(
          inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
        );
        expect(rawOf(read.inputs)).toEqual(inputs.map(({ bytes }) => Buffer.from(bytes)));
      }),
      propertyRuns(60),
    );
  });

  test('refuses every other length, of the body and of its parts', () => {
    const delta = fc.integer({ min: -9, max: 9 }).filter((value) => value !== 0);
    fc.assert(
      fc.property(tensors, delta, fc.nat(), (list, change, at) => {
        const inputs = list.map((tensor, i) => ({ ...tensor, name: `x${i}` }));
        const { body, jsonLength } = framed(inputs);
        const cut = body.subarray(0, body.length + change);
        const grown = change > 0 ? Buffer.concat([body, Buffer.alloc(change, 0x20)]) : cut;
        expect(outcomeOf(() => readTensorRequest({ bytes: grown, jsonLength }, MODEL))).toBeUndefined();
        const victim = at % inputs.length;
        const altered = inputs.map((input, i) =>
          i === victim ? { ...input, size: input.bytes.length + change } : input,
        );
        const other = framed(altered);
        expect(
          outcomeOf(() => readTensorRequest({ bytes: other.body, jsonLength: other.jsonLength }, MODEL)),
        ).toBeUndefined();
      }),
      propertyRuns(60),
    );
  });

  test('reads no request at another length of the JSON', () => {
    fc.assert(
      fc.property(tensors, fc.nat(), (list, at) => {
        const inputs = list.map((tensor, i) => ({ ...tensor, name: `x${i}` }));
        const { body, jsonLength } = framed(inputs);
        // From one: zero says that the body is one raw tensor.
        const other = 1 + (at % (body.length + 8));
        if (other === jsonLength) return;
        expect(outcomeOf(() => readTensorRequest({ bytes: body, jsonLength: other }, MODEL))).toBeUndefined();
      }),
      propertyRuns(60),
    );
  });

  test('takes any bytes without an uncoded failure', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.option(fc.nat({ max: 220 })), (bytes, length) => {
        outcomeOf(() => readTensorRequest({ bytes, jsonLength: length ?? undefined }, MODEL));
        outcomeOf(() => readBinaryTensor('x', 'BYTES', [3], bytes));
        outcomeOf(() => readBinaryTensor('x', 'BOOL', [bytes.length], bytes));
      }),
      propertyRuns(60),
    );
  });

  test('knows its own lengths only', () => {
    fc.assert(
      fc.property(fc.string(), fc.option(fc.string(), { nil: undefined }), (type, header) => {
        const length = outcomeOf(() => readFraming(type, header));
        if (header !== undefined && length !== undefined) expect(String(length)).toBe(header);
      }),
      propertyRuns(60),
    );
  });
});
