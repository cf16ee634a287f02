/**
 * Two small ONNX graphs that move the cache where the provider computes, so that it never travels to the host. They are
 * written here field by field (onnx.proto, IR version 8), because an encoder is all that is needed of protobuf.
 */
const IR_VERSION = 8;
const OPSET = 17;
/** Attribute type INT of onnx.proto. */
const ATTRIBUTE_INT = 2;
const INT64 = 7;

interface GraphNode {
  readonly operator: string;
  readonly inputs: readonly string[];
  readonly output: string;
  readonly attributes?: Readonly<Record<string, number>>;
}

interface GraphValue {
  readonly name: string;
  readonly elementType: number;
  /** Every dimension is free. */
  readonly rank: number;
}

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

function encodeNode({ operator, inputs, output, attributes = {} }: GraphNode): Buffer {
  const encoded = Object.entries(attributes).map(([name, value]) =>
    bytes(5, Buffer.concat([text(1, name), integer(3, value), integer(20, ATTRIBUTE_INT)])),
  );
  return Buffer.concat([
    ...inputs.map((name) => text(1, name)),
    text(2, output),
    text(4, operator),
    ...encoded,
  ]);
}

/** `ValueInfoProto`: each dimension has a name of its own. */
function encodeValue({ name, elementType, rank }: GraphValue): Buffer {
  const dimensions = Array.from({ length: rank }, (_, i) => bytes(1, text(2, `${name}.${i}`)));
  const tensor = Buffer.concat([integer(1, elementType), bytes(2, Buffer.concat(dimensions))]);
  return Buffer.concat([text(1, name), bytes(2, bytes(1, tensor))]);
}

function text(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value));
}

/** Wire type 2. */
function bytes(field: number, value: Uint8Array): Buffer {
  return Buffer.concat([varint(field * 8 + 2), varint(value.length), value]);
}

/** Wire type 0. */
function integer(field: number, value: number): Buffer {
  return Buffer.concat([varint(field * 8), varint(value)]);
}

function varint(value: number): Buffer {
  const groups: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) groups.push((rest % 0x80) | 0x80);
  return Buffer.from([...groups, rest]);
}
