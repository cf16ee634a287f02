import { Tensor } from 'onnxruntime-node';
import { fromHalf } from '../tensors.ts';
import type { DecoderPlan } from './plan.ts';

/** What a step feeds beside the cache: one row for each sequence. */
export interface StepFeeds {
  readonly input_ids: BigInt64Array;
  /** 1 where a column holds a token of the row, the step's own at the end. */
  readonly attention_mask: BigInt64Array;
  readonly position_ids: BigInt64Array;
}

/** Where a step's own token lies: behind all columns of the past, behind the row's tokens, or there with no column more. */
export type Appends = 'end' | 'length' | 'place';

/** Columns of the mask of a step over a cache of `columns`. */
export function maskWidth(columns: number, appends: Appends): number {
  return appends === 'place' ? columns : columns + 1;
}

/**
 * Fills the feeds of one step of `lengths.length` rows over a cache of `columns`. A model with GroupQueryAttention
 * counts the ones of the mask and wants them first.
 */
export function fillStep(
  feeds: StepFeeds,
  ids: readonly number[],
  lengths: readonly number[],
  columns: number,
  appends: Appends,
): void {
  const width = maskWidth(columns, appends);
  feeds.attention_mask.fill(0n);
  lengths.forEach((length, row) => {
    feeds.input_ids[row] = BigInt(ids[row] ?? 0);
    feeds.position_ids[row] = BigInt(length);
    feeds.attention_mask.fill(1n, row * width, row * width + length);
    feeds.attention_mask[row * width + (appends === 'end' ? columns : length)] = 1n;
  });
}

/** Inputs of a run over one sequence that has seen `seen` tokens and is given `ids`. */
export function sequenceFeeds(
  plan: DecoderPlan,
  ids: readonly number[],
  seen: number,
): readonly (readonly [name: keyof StepFeeds, values: BigInt64Array])[] {
  const feeds: [keyof StepFeeds, BigInt64Array][] = [['input_ids', BigInt64Array.from(ids, BigInt)]];
  if (plan.usesMask) feeds.push(['attention_mask', new BigInt64Array(seen + ids.length).fill(1n)]);
  if (plan.usesPositions) feeds.push(['position_ids', BigInt64Array.from(ids, (_, i) => BigInt(seen + i))]);
  return feeds;
}

/** Row, head and column of `tokens` new columns behind `length`, for each head of each row. */
export function places(rows: number, heads: number, length: number, tokens: number): BigInt64Array {
  const all = new BigInt64Array(rows * heads * tokens * 3);
  for (let i = 0; i < rows * heads * tokens; i++) {
    const line = Math.floor(i / tokens);
    all[3 * i] = BigInt(Math.floor(line / heads));
    all[3 * i + 1] = BigInt(line % heads);
    all[3 * i + 2] = BigInt(length + (i % tokens));
  }
  return all;
}

/** How the logits of a run come. */
export interface LogitsForm {
  readonly vocabulary: number;
  /** A row for each token that was given, or for the last one alone. */
  readonly perToken: boolean;
}

type Run = (
  feeds: Record<string, Tensor>,
  names: readonly string[],
) => Promise<Record<string, Tensor | undefined>>;

/** Asks the model: its declaration may leave the vocabulary open. */
export async function inspectLogits(run: Run, plan: DecoderPlan): Promise<LogitsForm> {
  const ids = [0, 0];
  const feeds: Record<string, Tensor> = {};
  for (const [name, values] of sequenceFeeds(plan, ids, 0)) feeds[name] = new Tensor('int64', values, [1, 2]);
  for (const { past, datatype, heads, width } of plan.caches) {
    feeds[past] =
      datatype === 'FP32'
        ? new Tensor('float32', new Float32Array(), [1, heads, 0, width])
        : new Tensor('float16', new Uint16Array(), [1, heads, 0, width]);
  }
  const dims = (await run(feeds, ['logits']))['logits']?.dims ?? [];
  const [batch, rows, vocabulary = 0] = dims;
  if (dims.length !== 3 || batch !== 1 || vocabulary < 1 || (rows !== 1 && rows !== ids.length)) {
    throw new Error('the logits have another shape than expected');
  }
  return { vocabulary, perToken: rows === ids.length };
}

/** Row `index` of logits, as numbers. */
export function logitsRow(data: Float32Array | Uint16Array, index: number, vocabulary: number): Float32Array {
  const row = data.subarray(index * vocabulary, (index + 1) * vocabulary);
  return row instanceof Float32Array ? row : Float32Array.from(row, fromHalf);
}
