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
const STEPS = 2;
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
    if (await isInvariant(decoder, plan, context, rows)) return { decoder, batching: 'rows', name: 'rows' };
    return (await tryFull(decoder, plan, context, Math.max(rows, COMPANY))) ?? none;
  } catch {
    return none;
  }
}

/** Steps of always so many rows; undefined where these change bits, too. */
async function tryFull(
  decoder: Decoder,
  plan: DecoderPlan,
  context: number,
  rows: number,
): Promise<Trial | undefined> {
  const full = await FullDecoder.create(decoder, rows);
  try {
    if (await isInvariant(full, plan, context, rows)) {
      return { decoder: full, batching: 'rows', name: `rows-of-${rows}` };
    }
  } catch {
    // Then it is not taken, either.
  }
  full.discard();
  return undefined;
}

/** Whether a row has the same bits in any company that is tried, and padding does no more than round. */
async function isInvariant(
  decoder: Decoder,
  plan: DecoderPlan,
  context: number,
  rows: number,
): Promise<boolean> {
  const prompts = LENGTHS.map((length) => tokens(length, decoder.vocabulary));
  const prefixes: Prefix[] = [];
  try {
    for (const prompt of prompts) prefixes.push(await decoder.extend(undefined, prompt));
    const narrow = columnsFor(LENGTHS[1] + STEPS, context);
    for (const columns of new Set([narrow, columnsFor(narrow, context)])) {
      if (!(await sameInCompany(decoder, prefixes, columns, rows))) return false;
    }
    const [first] = prefixes;
    if (!first) return false;
    const padded = await logitsOf(decoder, [first], narrow);
    const exact = await exactLogits(decoder, first);
    return padded.every((logits, step) => isNear(logits, exact[step], TOLERANCE[plan.logits]));
  } finally {
    for (const prefix of prefixes) prefix.release();
  }
}

/** Each prefix by itself, then in turns with the others in a pair and in a full batch: every row has the same bits. */
async function sameInCompany(
  decoder: Decoder,
  prefixes: readonly Prefix[],
  columns: number,
  rows: number,
): Promise<boolean> {
  const alone: (readonly Float32Array[])[] = [];
  for (const prefix of prefixes) alone.push(await logitsOf(decoder, [prefix], columns));
  for (const count of new Set([2, COMPANY, rows])) {
    const company = Array.from({ length: count }, (_, row) => row % prefixes.length);
    const members = company.map((member) => prefixes[member]).filter((prefix) => prefix !== undefined);
    const together = await logitsOf(decoder, members, columns);
    const same = together.every((logits, i) => {
      const step = Math.floor(i / count);
      return sameBits(logits, alone[company[i % count] ?? 0]?.[step]);
    });
    if (!same) return false;
  }
  return true;
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

function sameBits(row: Float32Array, wanted: Float32Array | undefined): boolean {
  const bytes = (array: Float32Array): Buffer =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return wanted !== undefined && bytes(row).equals(bytes(wanted));
}

function isNear(row: Float32Array, wanted: Float32Array | undefined, tolerance: number): boolean {
  if (!wanted) return false;
  const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  return row.every((value, i) => Math.abs(value - (wanted[i] ?? NaN)) <= tolerance * largest);
}
