import onnxProto from 'onnx-proto';

const { onnx } = onnxProto;

/** What a crafted model may differ in; the default adds [1, 2, 3, 4] to `x`. */
export interface CraftedModel {
  readonly irVersion?: number;
  readonly opset?: number;
  /** Entries of the initializer's external data; its weights are then not in the file. */
  readonly external?: Readonly<Record<string, string>>;
  /** Put the external tensor into a constant node instead of the graph's initializers. */
  readonly asConstant?: boolean;
}

/** Bytes of a small ONNX model: y = x + w over four floats. */
export function craftOnnx({
  irVersion = 8,
  opset = 17,
  external,
  asConstant = false,
}: CraftedModel = {}): Uint8Array {
  const value = (name: string): object => ({
    name,
    type: { tensorType: { elemType: 1, shape: { dim: [{ dimValue: 4 }] } } },
  });
  const stored = external
    ? {
        dataLocation: onnx.TensorProto.DataLocation.EXTERNAL,
        externalData: Object.entries(external).map(([key, text]) => ({ key, value: text })),
      }
    : { rawData: new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer) };
  const tensor = { name: 'w', dims: [4], dataType: 1, ...stored };
  const constant = { opType: 'Constant', output: ['w'], attribute: [{ name: 'value', type: 4, t: tensor }] };
  const add = { opType: 'Add', input: ['x', 'w'], output: ['y'] };
  const model = onnx.ModelProto.create({
    irVersion,
    opsetImport: [{ domain: '', version: opset }],
    graph: {
      name: 'crafted',
      node: asConstant ? [constant, add] : [add],
      initializer: asConstant ? [] : [tensor],
      input: [value('x')],
      output: [value('y')],
    },
  });
  return onnx.ModelProto.encode(model).finish();
}

/** Bytes of an encoder whose state of token i is [i, -i, 1], without pooling. */
export function craftEncoder(vocabulary: number): Uint8Array {
  const table = Float32Array.from({ length: vocabulary * 3 }, (_, i) => [i / 3, (1 - i) / 3, 1][i % 3]!);
  const value = (name: string, elemType: number, dim: readonly object[]): object => ({
    name,
    type: { tensorType: { elemType, shape: { dim } } },
  });
  const free = [{ dimParam: 'batch' }, { dimParam: 'sequence' }];
  const model = onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 17 }],
    graph: {
      name: 'encoder',
      node: [{ opType: 'Gather', input: ['table', 'input_ids'], output: ['last_hidden_state'] }],
      initializer: [
        { name: 'table', dims: [vocabulary, 3], dataType: 1, rawData: new Uint8Array(table.buffer) },
      ],
      input: ['input_ids', 'attention_mask', 'token_type_ids'].map((name) => value(name, 7, free)),
      output: [value('last_hidden_state', 1, [...free, { dimParam: 'hidden' }])],
    },
  });
  return onnx.ModelProto.encode(model).finish();
}

/** Numbers of ONNX's `TensorProto.DataType` by the names of the Open Inference Protocol. */
export const ONNX_TYPES = {
  BOOL: 9,
  UINT8: 2,
  UINT16: 4,
  UINT32: 12,
  UINT64: 13,
  INT8: 3,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  FP16: 10,
  FP32: 1,
  FP64: 11,
  BYTES: 8,
  BF16: 16,
} as const;

/** Bytes of a model that gives back each of its inputs: `x` as `y`, `x2` as `y2` and so on; -1 is a free dimension. */
export function craftIdentity(
  ...inputs: readonly (readonly [keyof typeof ONNX_TYPES, readonly number[]])[]
): Uint8Array {
  const named = inputs.map(([datatype, shape], i) => ({
    datatype,
    shape,
    suffix: i === 0 ? '' : String(i + 1),
  }));
  const value = (name: string, [datatype, shape]: (typeof inputs)[number]): object => {
    const dim = shape.map((size, i) => (size === -1 ? { dimParam: `${name}${i}` } : { dimValue: size }));
    return { name, type: { tensorType: { elemType: ONNX_TYPES[datatype], shape: { dim } } } };
  };
  const model = onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 17 }],
    graph: {
      name: 'identity',
      node: named.map(({ suffix }) => ({
        opType: 'Identity',
        input: [`x${suffix}`],
        output: [`y${suffix}`],
      })),
      input: named.map(({ suffix, datatype, shape }) => value(`x${suffix}`, [datatype, shape])),
      output: named.map(({ suffix, datatype, shape }) => value(`y${suffix}`, [datatype, shape])),
    },
  });
  return onnx.ModelProto.encode(model).finish();
}
