import { Tensor } from 'onnxruntime-node';
import type { TensorSpec } from './engine.ts';
import type { TensorSession } from './session.ts';

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

/** Width of the narrowest batch, and by what widths grow up to `FINE`; from there on each is half as large again. */
const STEP = 16;
const FINE = 64;

/** How one model's texts share runs. */
export interface EmbeddingBatching {
  /** Texts may share a run: company does not change their bits. */
  readonly rowwise: boolean;
  /** Most tokens of one text. */
  readonly most: number;
}

/** Tokens to which a text of so many is padded: not at all where there is no mask, or it has no company. */
export function widthOf(tokens: number, plan: EmbeddingPlan, { rowwise, most }: EmbeddingBatching): number {
  return rowwise && plan.inputs.has('attention_mask') ? paddedLength(tokens, most) : tokens;
}

/**
 * Tokens to which a text of so many is padded. The width depends on the text alone, so its company cannot change the
 * shapes that it is computed in: 16, 32, 48, 64, 96, 144, 224 and so on, at most `most`.
 */
export function paddedLength(tokens: number, most: number): number {
  let width = STEP;
  while (width < tokens) width = width < FINE ? width + STEP : Math.ceil((width * 1.5) / STEP) * STEP;
  return Math.max(tokens, Math.min(width, most));
}

/** Most rows of one run of texts that are padded to this length. */
export function rowsPerRun(length: number): number {
  return Math.max(1, Math.min(MAX_BATCH_ROWS, Math.floor(MAX_BATCH_TOKENS / length)));
}

/** One run over rows that are padded to `length`; the mask keeps the padding out of every vector. */
export async function embedRows(
  session: TensorSession,
  plan: EmbeddingPlan,
  rows: readonly (readonly number[])[],
  length: number,
): Promise<readonly Float32Array[]> {
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

/** Rows of unlike lengths that every model takes: its first tokens. */
const PROBES = [3, 7, 5] as const;

/**
 * Whether a text gets the same bits in company as alone, as far as a few tokens tell. Where it does not, or the model
 * does not take them, every text is run by itself.
 */
export async function isRowwise(session: TensorSession, plan: EmbeddingPlan, most: number): Promise<boolean> {
  const masked = plan.inputs.has('attention_mask');
  const rows = PROBES.map((length) => Array.from({ length: masked ? length : STEP }, (_, i) => i + length));
  const width = Math.min(STEP, most);
  try {
    const alone: Float32Array[] = [];
    for (const row of rows) alone.push(...(await embedRows(session, plan, [row], width)));
    for (const count of [2, rows.length, rowsPerRun(width)]) {
      const company = Array.from({ length: count }, (_, i) => rows[i % rows.length] ?? []);
      const together = await embedRows(session, plan, company, width);
      if (!together.every((vector, i) => sameValues(vector, alone[i % rows.length]))) return false;
    }
    return true;
  } catch {
    return false;
  }
}

function sameValues(vector: Float32Array, wanted: Float32Array | undefined): boolean {
  return wanted !== undefined && vector.every((value, i) => Object.is(value, wanted[i]));
}

/** Mean of the first `count` states. */
function mean(states: Float32Array, count: number, dimensions: number): Float32Array {
  const sums = new Float64Array(dimensions);
  for (let i = 0; i < count * dimensions; i++)
    sums[i % dimensions] = (sums[i % dimensions] ?? 0) + (states[i] ?? 0);
  return Float32Array.from(sums, (sum) => sum / count);
}
