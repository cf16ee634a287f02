import type { Decoder, Prefix } from './decoder.ts';
import { columnsFor } from './columns.ts';
import type { DecoderPlan } from './plan.ts';

/**
 * How sequences are computed: `rows` side by side, each as if alone; `alone` one after the other, where a model or
 * provider would let company or padding change a result.
 */
export type Batching = 'rows' | 'alone';

/** Padding only reorders sums: a share of the largest logit that rounding may move, by precision. */
const TOLERANCE = { FP32: 1e-3, FP16: 3e-2 } as const;
const LENGTHS = [5, 9] as const;
const STEPS = 3;

/**
 * Tries whether this model may be batched, here and with this provider: a row in company must give the same bits as
 * alone, and with padding the same logits as without, but for rounding. What is tried is a few steps, not every input.
 */
export async function probeBatching(decoder: Decoder, plan: DecoderPlan, context: number): Promise<Batching> {
  if (!plan.usesMask || context <= LENGTHS[1] + STEPS + 1) return 'alone';
  const prompts = LENGTHS.map((length) => tokens(length, decoder.vocabulary));
  const prefixes: Prefix[] = [];
  try {
    for (const prompt of prompts) prefixes.push(await decoder.extend(undefined, prompt));
    const [first, second] = prefixes;
    if (!first || !second) return 'alone';
    const columns = columnsFor(LENGTHS[1] + STEPS, context);
    const alone = await logitsOf(decoder, [first], columns);
    const company = await logitsOf(decoder, [second, first, second, first], columns);
    const exact = await exactLogits(decoder, first);
    const invariant = alone.every((logits, step) =>
      sameBits(logits, company[4 * step + 1], company[4 * step + 3]),
    );
    const near = alone.every((logits, step) => isNear(logits, exact[step], TOLERANCE[plan.logits]));
    return invariant && near ? 'rows' : 'alone';
  } catch {
    return 'alone';
  } finally {
    for (const prefix of prefixes) prefix.release();
  }
}

/** Tokens of all sizes, the same for every run. */
function tokens(count: number, vocabulary: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => (i * 7919 + 13) % vocabulary);
}

/** Logits of a few steps, row after row. */
async function logitsOf(
  decoder: Decoder,
  prefixes: readonly Prefix[],
  columns: number,
): Promise<readonly Float32Array[]> {
  const slab = decoder.slab(columns);
  try {
    for (const prefix of prefixes) slab.add(prefix);
    const all: Float32Array[] = [];
    for (let step = 0; step < STEPS; step++) {
      const ids = prefixes.map(() => tokens(STEPS, decoder.vocabulary)[step] ?? 0);
      const lengths = prefixes.map(({ length }) => length + step);
      all.push(...(await slab.step(ids, lengths)).map((row) => row.slice()));
    }
    return all;
  } finally {
    slab.release();
  }
}

/** The same steps without padding. */
async function exactLogits(decoder: Decoder, first: Prefix): Promise<readonly Float32Array[]> {
  const all: Float32Array[] = [];
  let prefix = first.retain();
  try {
    for (const id of tokens(STEPS, decoder.vocabulary)) {
      const next = await decoder.extend(prefix, [id]);
      prefix.release();
      prefix = next;
      all.push(prefix.logits);
    }
    return all;
  } finally {
    prefix.release();
  }
}

function sameBits(wanted: Float32Array, ...others: readonly (Float32Array | undefined)[]): boolean {
  const bytes = (row: Float32Array): Buffer => Buffer.from(row.buffer, row.byteOffset, row.byteLength);
  return others.every((row) => row !== undefined && bytes(row).equals(bytes(wanted)));
}

function isNear(row: Float32Array, wanted: Float32Array | undefined, tolerance: number): boolean {
  if (!wanted) return false;
  const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  return row.every((value, i) => Math.abs(value - (wanted[i] ?? NaN)) <= tolerance * largest);
}
