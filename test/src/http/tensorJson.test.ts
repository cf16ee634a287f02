import { describe, expect, test } from '@jest/globals';
import { fromHalf } from '../../../src/engine/tensors.ts';
import type { Datatype } from '../../../src/engine/engine.ts';
import { ServiceError } from '../../../src/http/errors.ts';
import { readTensorData, writeTensorData } from '../../../src/http/tensorJson.ts';

describe('tensor data', () => {
  test('every finite FP16 survives a round trip', () => {
    const bits = Array.from({ length: 0x1_0000 }, (_, i) => i).filter((i) => Number.isFinite(fromHalf(i)));
    const read = readTensorData('x', 'FP16', [bits.length], bits.map(fromHalf)) as Uint16Array;
    expect([...read]).toEqual(bits);
  });

  test('FP16 rounds to even', () => {
    // 1 + 2^-11 lies between two values, 65,519 below the largest.
    const read = readTensorData(
      'x',
      'FP16',
      [5],
      [1 + 2 ** -11, 1 + 3 * 2 ** -11, 65_519, 2 ** -25, 3 * 2 ** -25],
    );
    expect(read).toEqual(Uint16Array.of(0x3c00, 0x3c02, 0x7bff, 0, 2));
  });

  test('64-bit integers keep their digits both ways', () => {
    const data = readTensorData('x', 'INT64', [3], ['9223372036854775807', -5, '-9223372036854775808']);
    expect(data).toEqual(BigInt64Array.of(2n ** 63n - 1n, -5n, -(2n ** 63n)));
    expect(writeTensorData({ name: 'x', datatype: 'INT64', shape: [3], data })).toBe(
      '[9223372036854775807,-5,-9223372036854775808]',
    );
  });

  test('nested data is flattened in row-major order', () => {
    expect(
      readTensorData(
        'x',
        'INT8',
        [2, 2],
        [
          [1, 2],
          [3, 4],
        ],
      ),
    ).toEqual(Int8Array.of(1, 2, 3, 4));
  });

  test.each<[readonly number[], unknown]>([
    [[3], [[1, 2], [3]]],
    [
      [2, 2],
      [[1, 2, 3], [4]],
    ],
    [
      [2, 2],
      [[1, 2], 3, 4],
    ],
    [[1, 2], [[[1, 2]]]],
    [
      [4],
      [
        [1, 2],
        [3, 4],
      ],
    ],
    [[2], [1]],
    [[2], [1, 2, 3]],
    [[], []],
    [[0], [1]],
    [[2 ** 53 - 1, 2 ** 53 - 1], [1]],
  ])('of another form than the shape %j is refused: %j', (shape, data) => {
    expect(() => readTensorData('x', 'INT8', shape, data)).toThrow(
      expect.objectContaining({ code: 'SHAPE_MISMATCH' }),
    );
  });

  test.each<[Datatype, unknown]>([
    ['INT8', [128]],
    ['UINT8', [-1]],
    ['INT32', [1.5]],
    ['INT64', [2 ** 53]],
    ['INT64', ['9223372036854775808']],
    ['UINT64', ['-1']],
    ['UINT64', [true]],
    ['FP16', [65_520]],
    ['FP32', [1e39]],
    ['FP32', ['1']],
    ['FP64', [null]],
    ['BOOL', [2]],
    ['BYTES', [1]],
    ['FP32', { 0: 1 }],
    ['FP32', 'abc'],
  ])('%s refuses %j', (datatype, data) => {
    expect(() => readTensorData('x', datatype, [1], data)).toThrow(ServiceError);
  });

  test('a number that JSON lacks is no answer', () => {
    const tensor = { name: 'y', datatype: 'FP32' as const, shape: [1], data: Float32Array.of(NaN) };
    expect(() => writeTensorData(tensor)).toThrow(expect.objectContaining({ code: 'ENGINE_FAILED' }));
  });
});
