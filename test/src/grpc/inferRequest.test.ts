import { describe, expect, test } from '@jest/globals';
import { readInferRequest, splitInferRequest } from '../../../src/grpc/inferRequest.ts';
import type { TensorModel } from '../../../src/http/tensorRequest.ts';
import { TensorEngine } from '../../support/tensorEngine.ts';
import { encode } from './client.ts';

const MODEL: TensorModel = new TensorEngine().models.get('fake')!;
const ENTRIES = 4 * 1024 * 1024;

/** A message with one field that holds a name and millions of empty parameters, two bytes each. */
function messageOf(field: number, parameters: number): Uint8Array {
  const inside = Buffer.concat([
    Buffer.from('0a0178', 'hex'),
    Buffer.alloc(2 * ENTRIES, Buffer.of((parameters << 3) | 2, 0)),
  ]);
  const length: number[] = [];
  for (let left = inside.length; left > 0; left >>>= 7) length.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
  return Buffer.concat([Buffer.of((field << 3) | 2), Buffer.from(length), inside]);
}

/** An input that is whole: outputs are read after the inputs. */
const INPUT = encode('ModelInferRequest', {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [1], contents: { fp32_contents: [1] } }],
});

describe('millions of empty parameters', () => {
  test.each([
    ['of an input', messageOf(5, 4), 'inputs.0.parameters'],
    ['of an output', Buffer.concat([INPUT, messageOf(6, 2)]), 'outputs.0.parameters'],
  ])('%s are refused without being kept', (_name, bytes, param) => {
    const message = splitInferRequest(bytes);
    const before = process.memoryUsage().heapTotal;
    expect(() => readInferRequest(message, MODEL)).toThrow(
      expect.objectContaining({ code: 'PARAMETER_UNSUPPORTED', param: expect.stringContaining(param) }),
    );
    expect(process.memoryUsage().heapTotal - before).toBeLessThan(128 * 1024 * 1024);
  });
});
