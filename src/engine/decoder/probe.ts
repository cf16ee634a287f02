import type { Decoder, Prefix } from './decoder.ts';
import { columnsFor } from './columns.ts';
import { FullDecoder } from './full.ts';
import type { DecoderPlan } from './plan.ts';

/**
 * How sequences are computed: `rows` side by side, each as if alone; `alone` one after the other, where a model or
 * provider would let company or padding change a result.
 */
export type Batching = 'rows' | 'alone';

/** What the trial of a decoder has come to. */
export interface Trial {
  /** The decoder itself, or one around it whose steps always have the same number of rows. */
  readonly decoder: Decoder;
  readonly batching: Batching;
  /** What the manifest says: `rows`, `rows-of-N`, `alone`. */
  readonly name: string;
}

/** Padding only reorders sums: a share of the largest logit that rounding may move, by precision. */
const TOLERANCE = { FP32: 1e-3, FP16: 3e-2 } as const;
const LENGTHS = [5, 9] as const;
const STEPS = 3;
/** Rows of the trial in company. */
const COMPANY = 4;

/**
 * Tries whether this model may be batched, here and with this provider: a row in company must give the same bits as
 * alone, and with padding the same logits as without, but for rounding. Where the number of rows changes bits, steps of
 * always `rows` rows are tried. What is tried is a few steps, not every input.
 */
export async function tryBatching(
  decoder: Decoder,
  plan: DecoderPlan,
  context: number,
  rows: number,
): Promise<Trial> {
  const none: Trial = { decoder, batching: 'alone', name: 'alone' };
  if (!plan.usesMask || context <= LENGTHS[1] + STEPS + 1) return none;
  try {
    if (await isInvariant(decoder, plan, context)) return { decoder, batching: 'rows', name: 'rows' };
    const full = await FullDecoder.create(decoder, Math.max(rows, COMPANY));
    if (await isInvariant(full, plan, context)) {
      return { decoder: full, batching: 'rows', name: `rows-of-${Math.max(rows, COMPANY)}` };
    }
    full.discard();
    return none;
  } catch {
    return none;
  }
}

/** Whether a row has the same bits in any company, and padding does no more than round. */
async function isInvariant(decoder: Decoder, plan: DecoderPlan, context: number): Promise<boolean> {
  const prompts = LENGTHS.map((length) => tokens(length, decoder.vocabulary));
  const prefixes: Prefix[] = [];
  try {
    for (const prompt of prompts) prefixes.push(await decoder.extend(undefined, prompt));
    const [first, second] = prefixes;
    if (!first || !second) return false;
    const columns = columnsFor(LENGTHS[1] + STEPS, context);
    const alone = await logitsOf(decoder, [first], columns);
    const company = await logitsOf(decoder, [second, first, second, first], columns);
    const exact = await exactLogits(decoder, first);
    const invariant = alone.every((logits, step) =>
      sameBits(logits, company[COMPANY * step + 1], company[COMPANY * step + 3]),
    );
    return invariant && alone.every((logits, step) => isNear(logits, exact[step], TOLERANCE[plan.logits]));
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
