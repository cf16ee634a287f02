import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { TensorSpec } from './engine.ts';

const INPUTS = new Set(['input_ids', 'attention_mask', 'token_type_ids']);
/** Rows of one run, and tokens with padding: bounds of memory and of the wait behind a batch. */
const MAX_BATCH_ROWS = 64;
const MAX_BATCH_TOKENS = 16_384;

/** How a model embeds: its inputs, and an output that is a sentence's vector or every token's state. */
export interface EmbeddingPlan {
  readonly inputs: ReadonlySet<string>;
  readonly output: string;
  /** Whether the states are averaged under the mask. */
  readonly pooled: boolean;
  readonly dimensions: number;
}

/** The plan of a model with `sentence_embedding` or `last_hidden_state`; undefined when it has neither. */
export function planEmbedding(
  { inputs, outputs }: { readonly inputs: readonly TensorSpec[]; readonly outputs: readonly TensorSpec[] },
  hiddenSize: number | undefined,
): EmbeddingPlan | undefined {
  const names = new Set(inputs.map((input) => input.name));
  const fits = inputs.every((input) => INPUTS.has(input.name) && input.datatype === 'INT64');
  const ready = outputs.find((output) => output.name === 'sentence_embedding' && output.shape.length === 2);
  const output =
    ready ?? outputs.find(({ name, shape }) => name === 'last_hidden_state' && shape.length === 3);
  if (!fits || !names.has('input_ids') || output?.datatype !== 'FP32') return undefined;
  const declared = output.shape.at(-1) ?? -1;
  const dimensions = declared > 0 ? declared : hiddenSize;
  return dimensions === undefined
    ? undefined
    : { inputs: names, output: output.name, pooled: !ready, dimensions };
}

/** How many of the first rows fit one run: at least one. */
export function batchSize(rows: readonly (readonly number[])[]): number {
  let longest = 0;
  let count = 0;
  for (const row of rows.slice(0, MAX_BATCH_ROWS)) {
    longest = Math.max(longest, row.length);
    if (count > 0 && longest * (count + 1) > MAX_BATCH_TOKENS) break;
    count += 1;
  }
  return count;
}

/** One run over rows that are padded to the longest; the mask keeps the padding out of every vector. */
export async function embedRows(
  session: InferenceSession,
  plan: EmbeddingPlan,
  rows: readonly (readonly number[])[],
): Promise<readonly Float32Array[]> {
  const length = Math.max(...rows.map((row) => row.length));
  const ids = new BigInt64Array(rows.length * length);
  const mask = new BigInt64Array(rows.length * length);
  rows.forEach((row, i) => {
    row.forEach((id, j) => (ids[i * length + j] = BigInt(id)));
    mask.fill(1n, i * length, i * length + row.length);
  });
  const tensor = (data: BigInt64Array): Tensor => new Tensor('int64', data, [rows.length, length]);
  const feeds: Record<string, Tensor> = { input_ids: tensor(ids) };
  if (plan.inputs.has('attention_mask')) feeds['attention_mask'] = tensor(mask);
  if (plan.inputs.has('token_type_ids')) feeds['token_type_ids'] = tensor(new BigInt64Array(ids.length));
  const output = (await session.run(feeds, [plan.output]))[plan.output];
  const expected = plan.pooled ? [rows.length, length, plan.dimensions] : [rows.length, plan.dimensions];
  if (!(output?.data instanceof Float32Array) || output.dims.join() !== expected.join()) {
    throw new Error('the output has another shape than declared');
  }
  const data = output.data;
  const stride = data.length / rows.length;
  return rows.map((row, i) => {
    const states = data.subarray(i * stride, (i + 1) * stride);
    return plan.pooled ? mean(states, row.length, plan.dimensions) : states.slice();
  });
}

/** Mean of the first `count` states. */
function mean(states: Float32Array, count: number, dimensions: number): Float32Array {
  const sums = new Float64Array(dimensions);
  for (let i = 0; i < count * dimensions; i++)
    sums[i % dimensions] = (sums[i % dimensions] ?? 0) + (states[i] ?? 0);
  return Float32Array.from(sums, (sum) => sum / count);
}
