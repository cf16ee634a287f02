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
