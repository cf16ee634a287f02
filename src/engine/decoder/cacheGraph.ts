import {
  bytes,
  encodeNode,
  encodeValue,
  type GraphNode,
  type GraphValue,
  integer,
  text,
} from './onnxWriter.ts';

/** Two small ONNX graphs that move the cache where the provider computes, so that it never travels to the host. */
const IR_VERSION = 8;
const OPSET = 17;
const INT64 = 7;

/**
 * For each of `count` caches, seen as [rows x heads, columns, width]: takes from `present.i` the entries at `from`
 * ([rows x heads, 1], a column for each) and writes them into `cache.i` at `to` ([rows x heads, 2], row and column),
 * giving `next.i`. Bound to the memory of `cache.i`, `next.i` is written in place.
 */
export function appendGraph(count: number, elementType: number): Uint8Array {
  const caches = Array.from({ length: count }, (_, i) => i);
  const tensor = (name: string): GraphValue => ({ name, elementType, rank: 3 });
  return encodeModel({
    nodes: caches.flatMap((i) => [
      {
        operator: 'GatherND',
        inputs: [`present.${i}`, 'from'],
        output: `taken.${i}`,
        attributes: { batch_dims: 1 },
      },
      { operator: 'ScatterND', inputs: [`cache.${i}`, 'to', `taken.${i}`], output: `next.${i}` },
    ]),
    inputs: [
      ...caches.flatMap((i) => [tensor(`cache.${i}`), tensor(`present.${i}`)]),
      { name: 'from', elementType: INT64, rank: 2 },
      { name: 'to', elementType: INT64, rank: 2 },
    ],
    outputs: caches.map((i) => tensor(`next.${i}`)),
  });
}

/** For each of `count` caches [rows x heads, length, width]: `source.i` followed by `padding`, giving `wide.i`. */
export function widenGraph(count: number, elementType: number): Uint8Array {
  const caches = Array.from({ length: count }, (_, i) => i);
  const tensor = (name: string): GraphValue => ({ name, elementType, rank: 3 });
  return encodeModel({
    nodes: caches.map((i) => ({
      operator: 'Concat',
      inputs: [`source.${i}`, 'padding'],
      output: `wide.${i}`,
      attributes: { axis: 1 },
    })),
    inputs: [...caches.map((i) => tensor(`source.${i}`)), tensor('padding')],
    outputs: caches.map((i) => tensor(`wide.${i}`)),
  });
}

interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
}

function encodeModel({ nodes, inputs, outputs }: Graph): Uint8Array {
  const graph = [
    ...nodes.map((node) => bytes(1, encodeNode(node))),
    text(2, 'cache'),
    ...inputs.map((value) => bytes(11, encodeValue(value))),
    ...outputs.map((value) => bytes(12, encodeValue(value))),
  ];
  return Buffer.concat([
    integer(1, IR_VERSION),
    bytes(7, Buffer.concat(graph)),
    bytes(8, Buffer.concat([text(1, ''), integer(2, OPSET)])),
  ]);
}
