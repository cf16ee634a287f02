import onnxProto from 'onnx-proto';

const { onnx } = onnxProto;
const [INT64, BOOL] = [7, 9] as const;

const value = (name: string, elemType: number, shape: readonly (number | string)[]): object => {
  const dim = shape.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
};
const integers = (name: string, values: readonly number[], dims: readonly number[]): object => ({
  name,
  dims,
  dataType: INT64,
  rawData: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
});

/**
 * A decoder within an ONNX `Loop` that makes `count` tokens greedily in one run: the other way to keep the cache from
 * travelling. Inputs: `count`, `first` [1, 1] and the caches after the prompt; output: `tokens` [count, 1, 1].
 */
export function wrapInLoop(model: Uint8Array): Uint8Array {
  const decoded = onnx.ModelProto.toObject(onnx.ModelProto.decode(model)) as ModelObject;
  const { graph } = decoded;
  const caches = graph.input.filter(({ name }) => name.startsWith('past_key_values.'));
  const body = bodyOf(graph, caches);
  const outer = caches.map(({ name }) => `${name}.begin`);
  const wrapped = {
    ...decoded,
    graph: {
      name: 'loop',
      node: [
        {
          opType: 'Loop',
          input: ['count', '', 'first', ...outer],
          output: ['last', ...caches.map(({ name }) => `${name}.end`), 'tokens'],
          attribute: [{ name: 'body', type: 5, g: body }],
        },
      ],
      initializer: [
        ...graph.initializer,
        integers('loop.one', [1], [1]),
        integers('loop.two', [2], [1]),
        integers('loop.square', [1, 1], [2]),
      ],
      input: [
        value('count', INT64, []),
        value('first', INT64, [1, 1]),
        ...caches.map((cache) => ({ ...cache, name: `${cache.name}.begin` })),
      ],
      output: [value('tokens', INT64, ['count', 1, 1])],
    },
  };
  return onnx.ModelProto.encode(onnx.ModelProto.fromObject(wrapped)).finish();
}

/** One turn: what the model needs beside the cache follows from the cache. */
function bodyOf(graph: GraphObject, caches: readonly Named[]): object {
  return {
    name: 'body',
    node: [
      { opType: 'Shape', input: [caches[0]?.name], output: ['cache_shape'] },
      { opType: 'Gather', input: ['cache_shape', 'loop.two'], output: ['past'], attribute: [] },
      { opType: 'Add', input: ['past', 'loop.one'], output: ['total'] },
      {
        opType: 'Concat',
        input: ['loop.one', 'total'],
        output: ['mask_shape'],
        attribute: [{ name: 'axis', type: 2, i: 0 }],
      },
      { opType: 'Expand', input: ['loop.one', 'mask_shape'], output: ['attention_mask'] },
      { opType: 'Reshape', input: ['past', 'loop.square'], output: ['position_ids'] },
      ...graph.node,
      {
        opType: 'ArgMax',
        input: ['logits'],
        output: ['chosen'],
        attribute: [
          { name: 'axis', type: 2, i: -1 },
          { name: 'keepdims', type: 2, i: 0 },
        ],
      },
      { opType: 'Identity', input: ['chosen'], output: ['told'] },
      { opType: 'Identity', input: ['go_on'], output: ['goes_on'] },
    ],
    input: [value('turn', INT64, []), value('go_on', BOOL, []), value('input_ids', INT64, [1, 1]), ...caches],
    output: [
      value('goes_on', BOOL, []),
      value('chosen', INT64, [1, 1]),
      ...graph.output.filter(({ name }) => name.startsWith('present.')),
      value('told', INT64, [1, 1]),
    ],
  };
}

interface Named {
  readonly name: string;
}
interface GraphObject {
  readonly node: object[];
  readonly initializer: object[];
  readonly input: readonly Named[];
  readonly output: readonly Named[];
}
interface ModelObject {
  readonly graph: GraphObject;
}
