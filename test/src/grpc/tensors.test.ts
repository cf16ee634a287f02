import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Datatype, Tensor } from '../../../src/engine/engine.ts';
import { ServiceError } from '../../../src/http/errors.ts';
import { readInferRequest, splitInferRequest } from '../../../src/grpc/inferRequest.ts';
import { writeInferResponse } from '../../../src/grpc/inferResponse.ts';
import { propertyRuns, PROPERTY_TIMEOUT } from '../../support/runs.ts';
import { texts } from '../../support/tensors.ts';
import { DATATYPES, TensorEngine } from '../../support/tensorEngine.ts';
import { decode, encode, startGrpc } from './client.ts';

/** Values of each datatype at its bounds: the field and its values, and their raw bytes. */
const VALUES: Readonly<Record<Datatype, readonly [string, readonly unknown[], Uint8Array]>> = {
  BOOL: ['bool_contents', [true, false], Uint8Array.of(1, 0)],
  UINT8: ['uint_contents', [0, 255], Uint8Array.of(0, 255)],
  UINT16: ['uint_contents', [1, 65_535], bytesOf(Uint16Array.of(1, 65_535))],
  UINT32: ['uint_contents', [1, 4_294_967_295], bytesOf(Uint32Array.of(1, 4_294_967_295))],
  UINT64: ['uint64_contents', ['1', '18446744073709551615'], bytesOf(BigUint64Array.of(1n, 2n ** 64n - 1n))],
  INT8: ['int_contents', [-128, 127], bytesOf(Int8Array.of(-128, 127))],
  INT16: ['int_contents', [-32_768, 32_767], bytesOf(Int16Array.of(-32_768, 32_767))],
  INT32: ['int_contents', [-2_147_483_648, 7], bytesOf(Int32Array.of(-2_147_483_648, 7))],
  INT64: [
    'int64_contents',
    ['-9223372036854775808', '9223372036854775807'],
    bytesOf(BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n)),
  ],
  FP16: ['', [], Uint8Array.of(0x00, 0x3e, 0x00, 0xc0)],
  FP32: ['fp32_contents', [NaN, -Infinity], bytesOf(Float32Array.of(NaN, -Infinity))],
  FP64: ['fp64_contents', [0.1, -1e300], bytesOf(Float64Array.of(0.1, -1e300))],
  BYTES: ['bytes_contents', [Buffer.from(''), Buffer.from('é𝄞\u{feff}')], texts('', 'é𝄞\u{feff}')],
};
const TYPED = DATATYPES.filter((datatype) => datatype !== 'FP16');

function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer);
}

interface Response {
  readonly outputs: readonly { readonly contents: Record<string, unknown> | null }[];
  readonly raw_output_contents: readonly Buffer[];
}

describe('every datatype', () => {
  test.each(TYPED)('%s: typed in, typed out', async (datatype) => {
    const service = await startGrpc();
    const [field, values] = VALUES[datatype];
    const answer = await service.infer({
      model_name: datatype,
      inputs: [{ name: 'x', datatype, shape: [2], contents: { [field]: values } }],
    });
    expect([answer.code, answer.details]).toEqual(['OK', 'OK']);
    const { outputs, raw_output_contents } = decode(
      'ModelInferResponse',
      answer.bytes,
    ) as unknown as Response;
    expect(outputs).toMatchObject([{ name: 'y', datatype, shape: ['2'] }]);
    expect(outputs[0]!.contents![field]).toEqual(values);
    expect(raw_output_contents).toEqual([]);
  });

  test.each(DATATYPES)('%s: raw in, raw out', async (datatype) => {
    const service = await startGrpc();
    const [, , bytes] = VALUES[datatype];
    const answer = await service.infer({
      model_name: datatype,
      inputs: [{ name: 'x', datatype, shape: [2] }],
      raw_input_contents: [bytes],
    });
    expect([answer.code, answer.details]).toEqual(['OK', 'OK']);
    const { outputs, raw_output_contents } = decode(
      'ModelInferResponse',
      answer.bytes,
    ) as unknown as Response;
    expect(outputs).toMatchObject([{ name: 'y', datatype, shape: ['2'], contents: null }]);
    expect(raw_output_contents).toEqual([Buffer.from(bytes)]);
  });

  test.each(DATATYPES)('%s: no elements at all, either way', async (datatype) => {
    const service = await startGrpc();
    const inputs = [{ name: 'x', datatype, shape: [0] }];
    const raw = await service.infer({
      model_name: datatype,
      inputs,
      raw_input_contents: [new Uint8Array(0)],
    });
    expect(decode('ModelInferResponse', raw.bytes)['raw_output_contents']).toEqual([Buffer.alloc(0)]);
    const typed = await service.infer({ model_name: datatype, inputs });
    expect(typed.code).toBe(datatype === 'FP16' ? 'INVALID_ARGUMENT' : 'OK');
  });

  test('an answer with FP16 in it is raw, as FP16 has no typed form', () => {
    const outputs: Tensor[] = [
      { name: 'a', datatype: 'FP32', shape: [1], data: Float32Array.of(1) },
      { name: 'b', datatype: 'FP16', shape: [1], data: Uint16Array.of(0x3c00) },
    ];
    const bytes = writeInferResponse({ model: 'm', version: '1', id: '', outputs, raw: false });
    const response = decode('ModelInferResponse', bytes) as unknown as Response;
    expect(response.outputs.map(({ contents }) => contents)).toEqual([null, null]);
    expect(response.raw_output_contents).toEqual([Buffer.of(0, 0, 0x80, 0x3f), Buffer.of(0, 0x3c)]);
  });

  test('numbers that are not packed are read, too', () => {
    // Field 2 of contents as single varints: 7 and -1.
    const contents = Buffer.from('100710ffffffffffffffffff01', 'hex');
    const read = readOne(tensorOf('INT32', contents, [Buffer.from('1802', 'hex')]), 'INT32');
    expect(read).toEqual(Int32Array.of(7, -1));
  });

  test('values of several inputs keep their order, and outputs come as they are named', async () => {
    const service = await startGrpc();
    const answer = await service.infer({
      model_name: 'two',
      inputs: [
        { name: 'x2', datatype: 'BYTES', shape: [1] },
        { name: 'x', datatype: 'FP32', shape: [1] },
      ],
      outputs: [{ name: 'y2' }, { name: 'y' }],
      raw_input_contents: [texts('word'), bytesOf(Float32Array.of(2))],
    });
    const response = decode('ModelInferResponse', answer.bytes) as unknown as Response;
    expect(response.outputs).toMatchObject([{ name: 'y2' }, { name: 'y' }]);
    expect(response.raw_output_contents).toEqual([
      Buffer.from(texts('word')),
      Buffer.from(bytesOf(Float32Array.of(2))),
    ]);
  });
});

/** The message of one input with these contents, as bytes that no library would write. */
function tensorOf(datatype: string, contents: Uint8Array, shape: readonly Uint8Array[]): Uint8Array {
  const field = (number: number, value: Uint8Array): Buffer =>
    Buffer.concat([Buffer.of((number << 3) | 2, value.length), value]);
  const input = Buffer.concat([
    field(1, Buffer.from('x')),
    field(2, Buffer.from(datatype)),
    ...shape,
    field(5, contents),
  ]);
  return Buffer.concat([field(1, Buffer.from(datatype)), field(5, input)]);
}

function readOne(message: Uint8Array, model: string): Tensor['data'] {
  const { models } = new TensorEngine();
  return readInferRequest(splitInferRequest(message), models.get(model)!).inputs[0]!.data;
}

const EDGES: Partial<Record<Datatype, fc.Arbitrary<unknown>>> = {
  BOOL: fc.boolean(),
  UINT8: fc.integer({ min: 0, max: 255 }),
  UINT16: fc.integer({ min: 0, max: 65_535 }),
  UINT32: fc.integer({ min: 0, max: 4_294_967_295 }),
  UINT64: fc.bigInt(0n, 2n ** 64n - 1n).map(String),
  INT8: fc.integer({ min: -128, max: 127 }),
  INT16: fc.integer({ min: -32_768, max: 32_767 }),
  INT32: fc.integer(),
  INT64: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map(String),
  FP32: fc.float(),
  FP64: fc.double(),
  BYTES: fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
};

describe('the codec against the library', () => {
  test.each(TYPED)('%s: what it writes is read, and what is written it reads', (datatype) => {
    const [field] = VALUES[datatype];
    fc.assert(
      fc.property(fc.array(EDGES[datatype]!, { maxLength: 40 }), (values) => {
        const request = encode('ModelInferRequest', {
          model_name: datatype,
          inputs: [{ name: 'x', datatype, shape: [values.length], contents: { [field]: values } }],
        });
        const data = readOne(request, datatype);
        const outputs = [{ name: 'y', datatype, shape: [values.length], data }];
        const answer = writeInferResponse({ model: 'm', version: '1', id: '', outputs, raw: false });
        const response = decode('ModelInferResponse', answer) as unknown as Response;
        expect(response.outputs[0]!.contents![field]).toEqual(values);
        expect(response.outputs[0]).toMatchObject({ shape: [String(values.length)] });
      }),
      propertyRuns(50),
    );
  });

  test(
    'altered messages are read or refused by a code, never else',
    () => {
      const { models } = new TensorEngine();
      const valid = encode('ModelInferRequest', {
        model_name: 'two',
        id: 'i',
        inputs: [
          { name: 'x', datatype: 'FP32', shape: [2], contents: { fp32_contents: [1, 2] } },
          { name: 'x2', datatype: 'BYTES', shape: [1], contents: { bytes_contents: [Buffer.from('a')] } },
        ],
        outputs: [{ name: 'y' }],
      });
      fc.assert(
        fc.property(
          fc.nat({ max: valid.length - 1 }),
          fc.uint8Array({ maxLength: 6 }),
          fc.nat({ max: 6 }),
          (at, insert, cut) => {
            const altered = Buffer.concat([valid.subarray(0, at), insert, valid.subarray(at + cut)]);
            try {
              const message = splitInferRequest(altered);
              readInferRequest(message, models.get('two')!);
            } catch (error) {
              expect(error).toBeInstanceOf(ServiceError);
            }
          },
        ),
        propertyRuns(2000),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
