import onnxProto from 'onnx-proto';

const { onnx } = onnxProto;

const FLOAT = 1;
const INT64 = 7;
const HALF = 10;
const VOCABULARY = 32;
const STATE = 24;
/** Of each head; rotary embeddings want a multiple of 16. */
const WIDTH = 16;
const LAYERS = 2;
const POSITIONS = 256;
/** What hides a column from the attention. */
const HIDDEN = -1e9;

type Node = object;
type Dimension = number | string;

/** Parts of a graph as they are added. */
class Graph {
  readonly nodes: Node[] = [];
  readonly initializers: object[] = [];
  readonly inputs: object[] = [];
  readonly outputs: object[] = [];
  #names = 0;

  node(opType: string, input: readonly string[], attribute: readonly object[] = [], domain = ''): string {
    const [output] = this.nodeOf(opType, input, 1, attribute, domain);
    return output!;
  }

  nodeOf(
    opType: string,
    input: readonly string[],
    outputs: number,
    attribute: readonly object[] = [],
    domain = '',
  ): readonly string[] {
    const output = Array.from({ length: outputs }, () => `t${this.#names++}`);
    this.nodes.push({ opType, input, output, attribute, domain });
    return output;
  }

  /** Weights between -scale and scale, the same for the same number of calls before. */
  weights(scale: number, ...dims: readonly number[]): string {
    const name = `t${this.#names++}`;
    const size = dims.reduce((product, dim) => product * dim, 1);
    const seed = this.#names;
    const values = Float32Array.from({ length: size }, (_, i) => {
      const wild = Math.sin(seed * 12.9898 + i * 78.233) * 43758.5453;
      return scale * (2 * (wild - Math.floor(wild)) - 1);
    });
    return this.floats(values, dims, name);
  }

  floats(values: Float32Array, dims: readonly number[], name = `t${this.#names++}`): string {
    this.initializers.push({ name, dims, dataType: FLOAT, rawData: new Uint8Array(values.buffer) });
    return name;
  }

  integers(values: readonly number[], dims: readonly number[] = [values.length]): string {
    const name = `t${this.#names++}`;
    const rawData = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    this.initializers.push({ name, dims, dataType: INT64, rawData });
    return name;
  }

  input(name: string, elemType: number, dims: readonly Dimension[]): string {
    this.inputs.push(value(name, elemType, dims));
    return name;
  }

  output(name: string, from: string, elemType: number, dims: readonly Dimension[]): void {
    this.nodes.push({ opType: 'Identity', input: [from], output: [name] });
    this.outputs.push(value(name, elemType, dims));
  }

  encode(): Uint8Array {
    const model = onnx.ModelProto.create({
      irVersion: 8,
      opsetImport: [
        { domain: '', version: 17 },
        { domain: 'com.microsoft', version: 1 },
      ],
      graph: {
        name: 'decoder',
        node: this.nodes,
        initializer: this.initializers,
        input: this.inputs,
        output: this.outputs,
      },
    });
    return onnx.ModelProto.encode(model).finish();
  }
}

function value(name: string, elemType: number, dims: readonly Dimension[]): object {
  const dim = dims.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}

const integer = (name: string, i: number): object => ({ name, type: 2, i });
const integers = (name: string, ...ints: readonly number[]): object => ({ name, type: 7, ints });
const cast = (graph: Graph, from: string, to: number): string =>
  graph.node('Cast', [from], [integer('to', to)]);

function caches(graph: Graph, layer: number, heads: number, elemType: number): readonly [string, string] {
  const dims = ['batch', heads, 'past', WIDTH] as const;
  return [
    graph.input(`past_key_values.${layer}.key`, elemType, dims),
    graph.input(`past_key_values.${layer}.value`, elemType, dims),
  ];
}

function presents(
  graph: Graph,
  layer: number,
  heads: number,
  elemType: number,
  [key, values]: readonly [string, string],
): void {
  const dims = ['batch', heads, 'total', WIDTH] as const;
  graph.output(`present.${layer}.key`, key, elemType, dims);
  graph.output(`present.${layer}.value`, values, elemType, dims);
}

/** Tokens to states, layers with residuals, states to logits. */
function wrap(
  graph: Graph,
  halfLogits: boolean,
  layer: (state: string, index: number) => string,
): Uint8Array {
  const ids = graph.input('input_ids', INT64, ['batch', 'sequence']);
  let state = graph.node('Gather', [graph.weights(1, VOCABULARY, STATE), ids]);
  for (let i = 0; i < LAYERS; i++) state = graph.node('Add', [state, layer(state, i)]);
  const logits = graph.node('MatMul', [state, graph.weights(1, STATE, VOCABULARY)]);
  const dims = ['batch', 'sequence', VOCABULARY] as const;
  if (halfLogits) graph.output('logits', cast(graph, logits, HALF), HALF, dims);
  else graph.output('logits', logits, FLOAT, dims);
  return graph.encode();
}

/**
 * A decoder of 32 tokens with GroupQueryAttention, as onnxruntime-genai exports them: four heads over two of keys and
 * values, which the operator itself places behind the tokens that the mask counts.
 */
export function craftGroupedDecoder({ rotary }: { readonly rotary: boolean }): Uint8Array {
  const [heads, shared] = [4, 2];
  const graph = new Graph();
  const mask = graph.input('attention_mask', INT64, ['batch', 'total']);
  const count = graph.node('ReduceSum', [mask, graph.integers([1])], [integer('keepdims', 0)]);
  const lengths = cast(graph, graph.node('Sub', [count, graph.integers([1], [])]), 6);
  const width = graph.node('Gather', [graph.node('Shape', [mask]), graph.integers([1], [])]);
  const total = cast(graph, width, 6);
  const angles = (of: (angle: number) => number): string => {
    const angle = (i: number): number => Math.floor(i / 8) / 100 ** ((i % 8) / 8);
    return graph.floats(
      Float32Array.from({ length: POSITIONS * 8 }, (_, i) => of(angle(i))),
      [POSITIONS, 8],
    );
  };
  const rotation = rotary ? [angles(Math.cos), angles(Math.sin)] : [];
  return wrap(graph, false, (state, layer) => {
    const project = (size: number): string => graph.node('MatMul', [state, graph.weights(0.5, STATE, size)]);
    const [query, key, values] = [heads, shared, shared].map((some) => project(some * WIDTH));
    const past = caches(graph, layer, shared, FLOAT);
    const [attended, presentKey, presentValues] = graph.nodeOf(
      'GroupQueryAttention',
      [query!, key!, values!, ...past, lengths, total, ...rotation],
      3,
      [integer('num_heads', heads), integer('kv_num_heads', shared), integer('do_rotary', rotary ? 1 : 0)],
      'com.microsoft',
    );
    presents(graph, layer, shared, FLOAT, [presentKey!, presentValues!]);
    return graph.node('MatMul', [attended!, graph.weights(0.3, heads * WIDTH, STATE)]);
  });
}

/** How a decoder of plain operators differs from the common one. */
export interface PlainDecoder {
  /** Heads of each layer. */
  readonly heads?: readonly [number, number];
  /** Keep the cache, and give the logits, in FP16. */
  readonly half?: boolean;
  /** Whether there is an attention mask. */
  readonly masked?: boolean;
}

/** A decoder of 32 tokens whose attention is made of matrix products, with a cache by concatenation. */
export function craftPlainDecoder({
  heads = [2, 2],
  half = false,
  masked = true,
}: PlainDecoder = {}): Uint8Array {
  const graph = new Graph();
  const elemType = half ? HALF : FLOAT;
  const mask = masked ? graph.input('attention_mask', INT64, ['batch', 'total']) : undefined;
  return wrap(graph, half, (state, layer) => {
    const count = heads[layer]!;
    const split = graph.integers([0, 0, count, WIDTH]);
    const project = (): string => {
      const projected = graph.node('MatMul', [state, graph.weights(0.5, STATE, count * WIDTH)]);
      return graph.node(
        'Transpose',
        [graph.node('Reshape', [projected, split])],
        [integers('perm', 0, 2, 1, 3)],
      );
    };
    const query = project();
    const past = caches(graph, layer, count, elemType);
    const [keys, values] = past.map((cache) => {
      const made = half ? cast(graph, project(), HALF) : project();
      return graph.node('Concat', [cache, made], [integer('axis', 2)]);
    }) as [string, string];
    presents(graph, layer, count, elemType, [keys, values]);
    const full = (cache: string): string => (half ? cast(graph, cache, FLOAT) : cache);
    const scores = graph.node('MatMul', [
      query,
      graph.node('Transpose', [full(keys)], [integers('perm', 0, 1, 3, 2)]),
    ]);
    const seen = graph.node('Where', [
      visible(graph, state, keys, mask),
      graph.node('Mul', [scores, graph.floats(Float32Array.of(0.25), [])]),
      graph.floats(Float32Array.of(HIDDEN), []),
    ]);
    const weights = graph.node('Softmax', [seen], [integer('axis', -1)]);
    const attended = graph.node(
      'Transpose',
      [graph.node('MatMul', [weights, full(values)])],
      [integers('perm', 0, 2, 1, 3)],
    );
    const joined = graph.node('Reshape', [attended, graph.integers([0, 0, count * WIDTH])]);
    return graph.node('MatMul', [joined, graph.weights(0.3, count * WIDTH, STATE)]);
  });
}

/** Which columns each token sees: none behind its own, and none that the mask hides. */
function visible(graph: Graph, state: string, keys: string, mask: string | undefined): string {
  const size = (of: string, axis: number): string =>
    graph.node('Gather', [graph.node('Shape', [of]), graph.integers([axis], [])]);
  const [total, given] = [size(keys, 2), size(state, 1)];
  const [zero, one] = [graph.integers([0], []), graph.integers([1], [])];
  const columns = graph.node('Range', [zero, total, one]);
  const rows = graph.node('Range', [graph.node('Sub', [total, given]), total, one]);
  const causal = graph.node('LessOrEqual', [columns, graph.node('Unsqueeze', [rows, graph.integers([1])])]);
  if (mask === undefined) return causal;
  const held = graph.node('Unsqueeze', [cast(graph, mask, 9), graph.integers([1, 2])]);
  return graph.node('And', [causal, held]);
}
