import { createHash } from 'node:crypto';
import type { Sampling } from './engine.ts';
import { keepLargest, keepNucleus, sum } from './truncation.ts';

const LABEL = Buffer.from('vouchsafe/sample/1');

/** The largest logit wins, the smallest id among equals. */
export const GREEDY: Sampling = {
  temperature: 0,
  topP: 1,
  topK: 0,
  frequencyPenalty: 0,
  presencePenalty: 0,
  seed: 0,
  choice: 0,
};

/**
 * A number from 0 up to but not including 1: the first 53 bits of SHA-256 over the label, the seed (64-bit), the
 * choice and the position (32-bit each), big-endian. There is no state that draws could share, so what else runs
 * cannot change one, and anyone can draw again with a hash function alone.
 */
export function uniform(seed: number, choice: number, position: number): number {
  const counter = Buffer.alloc(16);
  counter.writeBigInt64BE(BigInt(seed), 0);
  counter.writeUInt32BE(choice, 8);
  counter.writeUInt32BE(position, 12);
  const digest = createHash('sha256').update(LABEL).update(counter).digest();
  return Number(digest.readBigUInt64BE() >> 11n) / 2 ** 53;
}

/**
 * The next token. `made` counts the tokens generated so far, `position` is their number. A pure function: the same
 * logits, settings and history give the same token. Arithmetic is in doubles, whose `exp` V8 computes in software, so
 * processors agree wherever the logits do.
 */
export function chooseToken(
  row: Float32Array,
  sampling: Sampling,
  made: ReadonlyMap<number, number>,
  position: number,
): number {
  const { temperature, topK, topP, seed, choice } = sampling;
  const logits = penalised(row, sampling, made);
  const best = largest(logits);
  const most = logits[best] ?? NaN;
  if (temperature === 0 || most === Infinity) return best;
  const weights = weigh(logits, most, temperature);
  if (topK > 0 && topK < weights.length) keepLargest(weights, topK);
  if (topP < 1) keepNucleus(weights, topP);
  return draw(weights, uniform(seed, choice, position)) ?? best;
}

function penalised(
  row: Float32Array,
  { frequencyPenalty, presencePenalty }: Sampling,
  made: ReadonlyMap<number, number>,
): Float32Array | Float64Array {
  if (frequencyPenalty === 0 && presencePenalty === 0) return row;
  const logits = Float64Array.from(row);
  for (const [id, count] of made) {
    logits[id] = (logits[id] ?? NaN) - frequencyPenalty * count - presencePenalty;
  }
  return logits;
}

function largest(logits: Float32Array | Float64Array): number {
  let best = -1;
  let most = -Infinity;
  for (let id = 0; id < logits.length; id++) {
    const value = logits[id] ?? NaN;
    if (value > most) {
      most = value;
      best = id;
    }
  }
  if (best < 0) throw new Error('no logit is a number');
  return best;
}

/** Weights from 0 to 1; what is no number has none. Vocabularies are large: plain loops are what is fast here. */
function weigh(logits: Float32Array | Float64Array, most: number, temperature: number): Float64Array {
  const weights = new Float64Array(logits.length);
  for (let id = 0; id < weights.length; id++) {
    weights[id] = Math.exp(((logits[id] ?? NaN) - most) / temperature) || 0;
  }
  return weights;
}

/** The token in whose weight the number falls, weights laid end to end by id. */
function draw(weights: Float64Array, number: number): number | undefined {
  const target = number * sum(weights);
  let passed = 0;
  let last: number | undefined;
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id] ?? 0;
    if (weight === 0) continue;
    passed += weight;
    if (target < passed) return id;
    last = id;
  }
  return last;
}

export interface TokenLogprob {
  readonly id: number;
  readonly logprob: number;
}

/** Log-probabilities of the model itself, before penalties, temperature and truncation. */
export function logprobsOf(
  row: Float32Array,
  id: number,
  count: number,
): { readonly own: TokenLogprob; readonly top: readonly TokenLogprob[] } {
  const most = row[largest(row)] ?? NaN;
  const total = sum(weigh(row, most, 1));
  const logprob = (token: number): TokenLogprob => ({
    id: token,
    logprob: (row[token] ?? NaN) - most - Math.log(total),
  });
  return { own: logprob(id), top: largestIds(row, count).map(logprob) };
}

/** Ids of the largest values in falling order, the smallest id first among equals. */
function largestIds(row: Float32Array, count: number): readonly number[] {
  const ids: number[] = [];
  if (count === 0) return ids;
  const value = (id: number): number => row[id] ?? NaN;
  let least = -Infinity;
  for (let id = 0; id < row.length; id++) {
    const full = ids.length === count;
    if (Number.isNaN(value(id)) || (full && value(id) <= least)) continue;
    const place = ids.findIndex((other) => value(id) > value(other));
    ids.splice(place < 0 ? ids.length : place, 0, id);
    if (full) ids.pop();
    least = value(ids.at(-1) ?? id);
  }
  return ids;
}
