import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import onnxProto from 'onnx-proto';

const { onnx } = onnxProto;

/** Shape of `all-MiniLM-L6-v2`, for which no file is at hand: what it says is noise, what it costs is real. */
const SHAPE = { layers: 6, width: 384, heads: 12, inner: 1536, positions: 512 } as const;
const [FLOAT, INT64] = [1, 7] as const;

interface GraphParts {
  readonly nodes: object[];
  readonly initializers: object[];
}

/** Writes a sentence encoder with seeded random weights and somebody else's tokenizer as a model folder. */
export function writeEncoder(folder: string, tokenizerFolder: string, vocabulary: number): void {
  mkdirSync(folder, { recursive: true });
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    cpSync(join(tokenizerFolder, name), join(folder, name));
  }
  const config = { hidden_size: SHAPE.width, max_position_embeddings: SHAPE.positions };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'model.onnx'), encodeEncoder(vocabulary));
}

function encodeEncoder(vocabulary: number): Uint8Array {
  const graph: GraphParts = { nodes: [], initializers: [] };
  const weights = (name: string, dims: readonly number[], scale: number): void => {
    const size = dims.reduce((product, dim) => product * dim, 1);
    const values = new Float32Array(size);
    let state = 0x2545_f491;
    for (let i = 0; i < size; i++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      values[i] = (state / 2 ** 31 - 1) * scale;
    }
    graph.initializers.push({ name, dims, dataType: FLOAT, rawData: new Uint8Array(values.buffer) });
  };
  embed(graph, weights, vocabulary);
  for (let layer = 0; layer < SHAPE.layers; layer++) encodeLayer(graph, weights, `l${layer}`, layer);
  graph.nodes.push({ opType: 'Identity', input: [`h${SHAPE.layers}`], output: ['last_hidden_state'] });
  const free = [{ dimParam: 'batch' }, { dimParam: 'sequence' }];
  const value = (name: string, elemType: number, dim: readonly object[]): object => ({
    name,
    type: { tensorType: { elemType, shape: { dim } } },
  });
  const model = onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 17 }],
    graph: {
      name: 'encoder',
      node: graph.nodes,
      initializer: graph.initializers,
      input: [value('input_ids', INT64, free), value('attention_mask', INT64, free)],
      output: [value('last_hidden_state', FLOAT, [...free, { dimValue: SHAPE.width }])],
    },
  });
  return onnx.ModelProto.encode(model).finish();
}

type Weights = (name: string, dims: readonly number[], scale: number) => void;

const integers = (
  name: string,
  values: readonly number[],
  dims: readonly number[] = [values.length],
): object => ({
  name,
  dims,
  dataType: INT64,
  rawData: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
});

/** Word embeddings, and the mask as what is added to scores: 0 or -10,000. */
function embed({ nodes, initializers }: GraphParts, weights: Weights, vocabulary: number): void {
  weights('table', [vocabulary, SHAPE.width], 0.5);
  const scalar = (name: string, value: number): object => ({
    name,
    dims: [],
    dataType: FLOAT,
    rawData: new Uint8Array(Float32Array.of(value).buffer),
  });
  initializers.push(
    scalar('one', 1),
    scalar('far', -10_000),
    scalar('scale', 1 / Math.sqrt(SHAPE.width / SHAPE.heads)),
    scalar('half', 0.5),
    scalar('root', Math.SQRT1_2),
    integers('split', [0, 0, SHAPE.heads, SHAPE.width / SHAPE.heads]),
    integers('join', [0, 0, SHAPE.width]),
    integers('axes', [1, 2]),
  );
  nodes.push(
    { opType: 'Gather', input: ['table', 'input_ids'], output: ['h0'] },
    {
      opType: 'Cast',
      input: ['attention_mask'],
      output: ['seen'],
      attribute: [{ name: 'to', type: 2, i: FLOAT }],
    },
    { opType: 'Sub', input: ['one', 'seen'], output: ['unseen'] },
    { opType: 'Mul', input: ['unseen', 'far'], output: ['penalty'] },
    { opType: 'Unsqueeze', input: ['penalty', 'axes'], output: ['mask'] },
  );
}

function encodeLayer(
  { nodes, initializers }: GraphParts,
  weights: Weights,
  name: string,
  index: number,
): void {
  const { width, inner } = SHAPE;
  for (const part of ['q', 'k', 'v', 'o']) weights(`${name}.${part}.w`, [width, width], 0.05);
  weights(`${name}.in.w`, [width, inner], 0.05);
  weights(`${name}.out.w`, [inner, width], 0.05);
  const ones = {
    dims: [width],
    dataType: FLOAT,
    rawData: new Uint8Array(new Float32Array(width).fill(1).buffer),
  };
  const zeros = { dims: [width], dataType: FLOAT, rawData: new Uint8Array(new Float32Array(width).buffer) };
  initializers.push({ name: `${name}.gamma`, ...ones }, { name: `${name}.beta`, ...zeros });
  const add = (
    opType: string,
    input: readonly string[],
    output: string,
    attribute: readonly object[] = [],
  ): void => {
    const local = (value: string): string => (value.startsWith('.') ? name + value : value);
    nodes.push({ opType, input: input.map(local), output: [local(output)], attribute });
  };
  const permute = (order: readonly number[]): readonly object[] => [{ name: 'perm', type: 7, ints: order }];
  const hidden = `h${index}`;
  for (const [part, order] of [
    ['q', [0, 2, 1, 3]],
    ['k', [0, 2, 3, 1]],
    ['v', [0, 2, 1, 3]],
  ] as const) {
    add('MatMul', [hidden, `.${part}.w`], `.${part}`);
    add('Reshape', [`.${part}`, 'split'], `.${part}s`);
    add('Transpose', [`.${part}s`], `.${part}t`, permute(order));
  }
  add('MatMul', ['.qt', '.kt'], '.scores');
  add('Mul', ['.scores', 'scale'], '.scaled');
  add('Add', ['.scaled', 'mask'], '.masked');
  add('Softmax', ['.masked'], '.shares', [{ name: 'axis', type: 2, i: -1 }]);
  add('MatMul', ['.shares', '.vt'], '.mixed');
  add('Transpose', ['.mixed'], '.mixedt', permute([0, 2, 1, 3]));
  add('Reshape', ['.mixedt', 'join'], '.joined');
  add('MatMul', ['.joined', '.o.w'], '.attended');
  add('Add', [hidden, '.attended'], '.residual');
  add('LayerNormalization', ['.residual', '.gamma', '.beta'], '.normal');
  add('MatMul', ['.normal', '.in.w'], '.wide');
  add('Mul', ['.wide', 'root'], '.angle');
  add('Erf', ['.angle'], '.erf');
  add('Add', ['.erf', 'one'], '.gate');
  add('Mul', ['.wide', '.gate'], '.gated');
  add('Mul', ['.gated', 'half'], '.gelu');
  add('MatMul', ['.gelu', '.out.w'], '.narrow');
  add('Add', ['.normal', '.narrow'], '.sum');
  add('LayerNormalization', ['.sum', '.gamma', '.beta'], `h${index + 1}`);
}
