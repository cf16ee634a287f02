import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Datatype, Tensor, TensorData, TensorSpec } from '../../../src/engine/engine.ts';
import { canShare, isBatchable, rowsOf, split, stack } from '../../../src/engine/tensorBatch.ts';
import { propertyRuns } from '../../support/runs.ts';

const MAKERS: Readonly<Record<Datatype, (values: readonly number[]) => TensorData>> = {
  BOOL: (values) => Uint8Array.from(values, (value) => value & 1),
  UINT8: (values) => Uint8Array.from(values),
  UINT16: (values) => Uint16Array.from(values),
  UINT32: (values) => Uint32Array.from(values),
  UINT64: (values) => BigUint64Array.from(values, BigInt),
  INT8: (values) => Int8Array.from(values),
  INT16: (values) => Int16Array.from(values),
  INT32: (values) => Int32Array.from(values),
  INT64: (values) => BigInt64Array.from(values, BigInt),
  FP16: (values) => Uint16Array.from(values),
  FP32: (values) => Float32Array.from(values, (value) => value / 3),
  FP64: (values) => Float64Array.from(values, (value) => value / 3),
  BYTES: (values) => values.map((value) => `text ${value} é`),
};
const DATATYPES = Object.keys(MAKERS) as readonly Datatype[];

function tensor(name: string, datatype: Datatype, shape: readonly number[], first = 0): Tensor {
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  const values = Array.from({ length: size }, (_, i) => (first + 7 * i) % 100);
  return { name, datatype, shape, data: MAKERS[datatype](values) };
}

describe('requests that share a run', () => {
  test('each get back their own rows, whatever their datatypes and shapes', () => {
    const form = fc.record({
      datatype: fc.constantFrom(...DATATYPES),
      rest: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }),
    });
    const rows = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.array(form, { minLength: 1, maxLength: 3 }), rows, fc.nat(50), (forms, counts, seed) => {
        const requests = counts.map((count, i) =>
          forms.map(({ datatype, rest }, j) =>
            tensor(`x${j}`, datatype, [count, ...rest], seed + 11 * i + j),
          ),
        );
        const together = stack(requests);
        const total = counts.reduce((sum, count) => sum + count, 0);
        expect(together.map(({ shape }) => shape[0])).toEqual(forms.map(() => total));
        expect(split(together, counts)).toEqual(requests);
      }),
      propertyRuns(300),
    );
  });

  test('cover every datatype', () => {
    for (const datatype of DATATYPES) {
      const requests = [[tensor('x', datatype, [1, 2])], [tensor('x', datatype, [3, 2], 40)]];
      expect(split(stack(requests), [1, 3])).toEqual(requests);
    }
  });

  test('may name their inputs in any order', () => {
    const a = [tensor('x', 'FP32', [1]), tensor('y', 'BYTES', [1])];
    const b = [tensor('y', 'BYTES', [1], 5), tensor('x', 'FP32', [1], 9)];
    expect(canShare(a, b)).toBe(true);
    expect(split(stack([a, b]), [1, 1])).toEqual([a, [b[1], b[0]]]);
  });

  test('own what they are given: a change reaches nobody else', () => {
    const parts = split([tensor('y', 'FP32', [2, 2])], [1, 1])!;
    (parts[0]![0]!.data as Float32Array).fill(9);
    expect(parts[1]![0]!.data).toEqual(tensor('y', 'FP32', [2, 2]).data.slice(2));
  });

  test.each<readonly [string, Tensor]>([
    ['the name', tensor('z', 'FP32', [1, 4])],
    ['the datatype', tensor('x', 'FP64', [1, 4])],
    ['a dimension', tensor('x', 'FP32', [1, 5])],
    ['the rank', tensor('x', 'FP32', [1, 4, 1])],
  ])('do not differ in %s', (_name, other) => {
    expect(canShare([tensor('x', 'FP32', [3, 4])], [other])).toBe(false);
    expect(canShare([tensor('x', 'FP32', [3, 4])], [tensor('x', 'FP32', [1, 4])])).toBe(true);
  });
});

describe('a shared run', () => {
  test('is not split where an output lacks a row for each row', () => {
    expect(split([tensor('y', 'FP32', [3, 2]), tensor('z', 'FP32', [1, 2])], [1, 2])).toBeUndefined();
    expect(split([tensor('y', 'FP32', [])], [1, 2])).toBeUndefined();
  });

  test('needs inputs that agree in their rows', () => {
    expect(rowsOf([tensor('x', 'FP32', [3, 2]), tensor('y', 'FP32', [3])])).toBe(3);
    expect(rowsOf([tensor('x', 'FP32', [3, 2]), tensor('y', 'FP32', [2])])).toBeUndefined();
    expect(rowsOf([tensor('x', 'FP32', [0, 2])])).toBeUndefined();
    expect(rowsOf([tensor('x', 'FP32', [])])).toBeUndefined();
    expect(rowsOf([])).toBeUndefined();
  });

  test('needs a free first dimension of every input and output', () => {
    const spec = (...shape: readonly number[]): TensorSpec => ({ name: 'x', datatype: 'FP32', shape });
    expect(isBatchable({ inputs: [spec(-1, 4)], outputs: [spec(-1)] })).toBe(true);
    expect(isBatchable({ inputs: [spec(-1, 4), spec(4)], outputs: [spec(-1)] })).toBe(false);
    expect(isBatchable({ inputs: [spec(-1, 4)], outputs: [spec(1, 4)] })).toBe(false);
    expect(isBatchable({ inputs: [spec()], outputs: [spec(-1)] })).toBe(false);
    expect(isBatchable({ inputs: [], outputs: [spec(-1)] })).toBe(false);
  });
});
