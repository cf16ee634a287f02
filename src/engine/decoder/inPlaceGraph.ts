import { beforeBytes, bytes, encodeNode, encodeValue, text } from './onnxWriter.ts';
import { presentOf } from './plan.ts';

/** Input: where new keys and values are written, [rows, heads, tokens, 3] of row, head and column. */
export const PLACES = 'vouchsafe.places';
/** Input whose shape is that of the past without room for what is new; its bytes are never read. */
export const EXTENT = 'vouchsafe.extent';
/** Numbers of `TensorProto.DataType`. */
export const EXTENT_TYPE = 2;
const INT64 = 7;
const RANK = 4;

/** Operators with graphs of their own, which read a cache of the main graph by its name. */
const NESTING = ['If', 'Loop', 'Scan', 'SequenceMap'];
/** Largest file that is edited, because that is a copy while the model is loaded. */
const MAX_FILE_BYTES = 0x4000_0000;
/** Most `Identity` between what is made and its output. */
const MAX_NAMES = 4;

/** Fields of onnx.proto. */
const MODEL = { graph: 7 } as const;
const GRAPH = { node: 1, input: 11 } as const;
const NODE = { input: 1, output: 2, operator: 4, attribute: 5, domain: 7 } as const;
const VALUE = { name: 1 } as const;
const ATTRIBUTE = { name: 1, integer: 3 } as const;

interface Field {
  readonly number: number;
  /** With its tag. */
  readonly whole: Uint8Array;
  /** Of wire type 2; empty otherwise. */
  readonly content: Uint8Array;
  /** Of wire type 0. */
  readonly integer: bigint;
}

interface Node {
  readonly fields: readonly Field[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** With its domain, if that is not the one of ONNX. */
  readonly operator: string;
}

/**
 * The model with caches that grow in place: `ScatterND` instead of `Concat` writes what is new into a cache that has
 * room for it, and what asks for the shape of the past asks `EXTENT`. All other nodes are as they were, and are given
 * the same tensors. Undefined where caches are used in any other way. The file was read by `readOnnxHeader`.
 */
export function growInPlace(model: Uint8Array, operators: ReadonlySet<string>): Uint8Array | undefined {
  if (model.length > MAX_FILE_BYTES || NESTING.some((name) => operators.has(name))) return undefined;
  const fields = [...fieldsOf(model)];
  const [graph, ...more] = fields.filter(({ number }) => number === MODEL.graph);
  const edited = graph && more.length === 0 ? editGraph([...fieldsOf(graph.content)]) : undefined;
  if (!edited) return undefined;
  const length = edited.reduce((sum, piece) => sum + piece.length, 0);
  return Buffer.concat(
    fields.flatMap((field) =>
      field === graph ? [beforeBytes(MODEL.graph, length), ...edited] : [field.whole],
    ),
  );
}

function editGraph(fields: readonly Field[]): readonly Uint8Array[] | undefined {
  const pasts = fields
    .filter(({ number }) => number === GRAPH.input)
    .flatMap(({ content }) => textsOf([...fieldsOf(content)], VALUE.name).slice(-1))
    .filter((name) => presentOf(name) !== undefined);
  const nodes = new Map<Field, Node>();
  for (const field of fields) if (field.number === GRAPH.node) nodes.set(field, readNode(field.content));
  const growing = growthOf(pasts, [...nodes.values()]);
  if (!growing) return undefined;
  const isPast = new Set(pasts);
  const pieces: Uint8Array[] = [];
  for (const field of fields) {
    const node = nodes.get(field);
    if (!node?.inputs.some((name) => isPast.has(name))) pieces.push(field.whole);
    else if (growing.has(node)) pieces.push(bytes(GRAPH.node, encodeNode(scatter(node))));
    else if (node.operator === 'Shape') pieces.push(bytes(GRAPH.node, shapeOfExtent(node)));
    else return undefined;
  }
  for (const [name, elementType] of [
    [PLACES, INT64],
    [EXTENT, EXTENT_TYPE],
  ] as const) {
    pieces.push(bytes(GRAPH.input, encodeValue({ name, elementType, rank: RANK })));
  }
  return pieces;
}

/** The node by which each cache grows; undefined where one grows by anything but plain concatenation. */
function growthOf(pasts: readonly string[], nodes: readonly Node[]): ReadonlySet<Node> | undefined {
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
  const found = new Set<Node>();
  for (const past of pasts) {
    let node = makers.get(presentOf(past) ?? '');
    for (let i = 0; i < MAX_NAMES && node?.operator === 'Identity'; i++)
      node = makers.get(node.inputs[0] ?? '');
    if (!node || !isGrowth(node, past)) return undefined;
    found.add(node);
  }
  return found.size === pasts.length && found.size > 0 ? found : undefined;
}

/** `Concat` of the past and one other tensor along the columns. */
function isGrowth({ operator, inputs, outputs, fields }: Node, past: string): boolean {
  const attributes = fields.filter(({ number }) => number === NODE.attribute);
  const [axis] = attributes.map(({ content }) => [...fieldsOf(content)]);
  const isAxis = axis !== undefined && textsOf(axis, ATTRIBUTE.name).at(-1) === 'axis';
  const along = axis?.findLast(({ number }) => number === ATTRIBUTE.integer)?.integer;
  return (
    operator === 'Concat' &&
    inputs.length === 2 &&
    inputs[0] === past &&
    inputs[1] !== past &&
    outputs.length === 1 &&
    attributes.length === 1 &&
    isAxis &&
    (along === 2n || along === -2n)
  );
}

function scatter({
  inputs: [past = '', made = ''],
  outputs: [output = ''],
}: Node): Parameters<typeof encodeNode>[0] {
  return { operator: 'ScatterND', inputs: [past, PLACES, made], output };
}

/** The same node with its attributes, of which `Shape` has some since opset 15. */
function shapeOfExtent({ fields }: Node): Uint8Array {
  return Buffer.concat(
    fields.map((field) => (field.number === NODE.input ? text(NODE.input, EXTENT) : field.whole)),
  );
}

function readNode(content: Uint8Array): Node {
  const fields = [...fieldsOf(content)];
  const domain = textsOf(fields, NODE.domain).at(-1) ?? '';
  const operator = textsOf(fields, NODE.operator).at(-1) ?? '';
  return {
    fields,
    inputs: textsOf(fields, NODE.input),
    outputs: textsOf(fields, NODE.output),
    operator: domain === '' || domain === 'ai.onnx' ? operator : `${domain}.${operator}`,
  };
}

function textsOf(fields: readonly Field[], wanted: number): readonly string[] {
  return fields
    .filter(({ number }) => number === wanted)
    .map(({ content }) => Buffer.from(content.buffer, content.byteOffset, content.length).toString());
}

const NOTHING = new Uint8Array(0);

/** Fields of a message as they lie there. */
function* fieldsOf(message: Uint8Array): Generator<Field> {
  for (let at = 0; at < message.length;) {
    const start = at;
    const varint = (): bigint => {
      let value = 0n;
      for (let shift = 0n; shift < 70n; shift += 7n) {
        const byte = message[at++];
        if (byte === undefined) break;
        value |= BigInt(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
      }
      throw new Error('a number without an end');
    };
    const tag = Number(varint());
    const integer = tag % 8 === 0 || tag % 8 === 2 ? varint() : 0n;
    const from = at;
    at += { 0: 0, 1: 8, 2: Number(integer), 5: 4 }[tag % 8] ?? Infinity;
    if (at > message.length) throw new Error('a field passes its end');
    const content = tag % 8 === 2 ? message.subarray(from, at) : NOTHING;
    yield {
      number: Math.floor(tag / 8),
      whole: message.subarray(start, at),
      content,
      integer: BigInt.asIntN(64, integer),
    };
  }
}
