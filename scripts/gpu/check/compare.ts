import type { GeneratedToken, Tensor, TensorData } from '../../../src/engine/engine.ts';
import { fromHalf } from '../../../src/engine/tensors.ts';
import type { Answer, Answers } from './answers.ts';
import type { Finding, Outcome } from './result.ts';
import type { Tolerance } from './tolerance.ts';

export interface Difference {
  /** Largest difference of two values. */
  readonly absolute: number;
  /** That, as a share of the largest magnitude of the reference. */
  readonly share: number;
  readonly cosine: number;
}

/** Compares two vectors of one length. A value that is not a number is as far from every number as can be. */
export function differenceOf(reference: ArrayLike<number>, other: ArrayLike<number>): Difference {
  if (reference.length !== other.length) return { absolute: Infinity, share: Infinity, cosine: -1 };
  let [absolute, largest, dot, squares, otherSquares] = [0, 0, 0, 0, 0];
  for (let i = 0; i < reference.length; i++) {
    const [a, b] = [reference[i] ?? NaN, other[i] ?? NaN];
    if (Object.is(a, b)) {
      if (!Number.isFinite(a)) continue;
    } else absolute = Math.max(absolute, Number.isFinite(a - b) ? Math.abs(a - b) : Infinity);
    largest = Math.max(largest, Math.abs(a));
    dot += a * b;
    squares += a * a;
    otherSquares += b * b;
  }
  const lengths = Math.sqrt(squares) * Math.sqrt(otherSquares);
  if (absolute === 0) return { absolute: 0, share: 0, cosine: 1 };
  return { absolute, share: largest > 0 ? absolute / largest : Infinity, cosine: dot / lengths };
}

/** Compares what two engine processes answered to the same requests. */
export function compareAnswers(
  model: string,
  reference: Answers,
  other: Answers,
  tolerance: Tolerance,
): readonly Finding[] {
  const findings: Finding[] = [];
  const add = (check: string, outcome: Outcome, detail: string): void => {
    findings.push({ model, check, outcome, detail });
  };
  if (reference.embeddings.length > 0) {
    add('embeddings', ...judgeEmbeddings(reference.embeddings, other.embeddings, tolerance));
  }
  reference.generations.forEach((answer, i) => {
    add(`greedy tokens ${i + 1}`, ...judgeGeneration(answer, other.generations[i], tolerance));
  });
  if (!reference.tensors) add('tensors', 'skip', 'the model takes none of the inputs that are made up here');
  else {
    for (const [name, ...judged] of judgeTensors(reference.tensors, other.tensors, tolerance)) {
      add(`tensor ${name}`, ...judged);
    }
  }
  return findings;
}

type Judged = readonly [outcome: Outcome, detail: string];

function judgeEmbeddings(
  reference: readonly Answer<Float32Array>[],
  other: readonly Answer<Float32Array>[],
  tolerance: Tolerance,
): Judged {
  const differences: Difference[] = [];
  for (const [i, wanted] of reference.entries()) {
    const found = other[i];
    const refusal = refusalOf(wanted, found);
    if (refusal) return refusal;
    if ('value' in wanted && found && 'value' in found) {
      differences.push(differenceOf(wanted.value, found.value));
    }
  }
  return judgeDifferences(differences, tolerance);
}

/** `share` and `cosine` must both hold: the first sees one wrong value, the second a slow drift of all. */
function judgeDifferences(
  differences: readonly Difference[],
  { share, cosine, precision }: Tolerance,
): Judged {
  const worst = {
    absolute: Math.max(0, ...differences.map((difference) => difference.absolute)),
    share: Math.max(0, ...differences.map((difference) => difference.share)),
    cosine: Math.min(1, ...differences.map((difference) => difference.cosine)),
  };
  const holds = worst.share <= share && worst.cosine >= cosine;
  const seen = `largest difference ${short(worst.absolute)}, share ${short(worst.share)}, cosine ${worst.cosine.toFixed(7)}`;
  const allowed = precision === 'exact' ? 'exact' : `${precision}: share ${share}, cosine ${cosine}`;
  return [holds ? 'pass' : 'fail', `${seen} (${allowed})`];
}

/** A model that answers on one provider must answer on the other; what both refuse is not tried. */
function refusalOf<T>(reference: Answer<T>, other: Answer<T> | undefined): Judged | undefined {
  if (!other) return ['fail', 'there is no answer'];
  if ('refused' in reference) {
    if ('refused' in other) return ['skip', `refused by both: ${reference.refused}`];
    return ['fail', `refused by the reference alone: ${reference.refused}`];
  }
  return 'refused' in other ? ['fail', `refused: ${other.refused}`] : undefined;
}

/**
 * Two greedy generations part where rounding turns the order of two tokens that are nearly as likely. They may part
 * there alone: the reference must hold both tokens for as likely as the tolerance allows. What follows has another
 * history and is not compared.
 */
export function judgeGeneration(
  reference: Answer<readonly GeneratedToken[]>,
  other: Answer<readonly GeneratedToken[]> | undefined,
  { logprob: allowed, precision }: Tolerance,
): Judged {
  const refusal = refusalOf(reference, other);
  if (refusal) return refusal;
  const wanted = 'value' in reference ? reference.value : [];
  const found = other && 'value' in other ? other.value : [];
  const parted = wanted.findIndex((token, i) => found[i]?.id !== token.id);
  const at = parted === -1 ? wanted.length : parted;
  const drift = Math.max(0, ...wanted.slice(0, at).map((token, i) => driftOf(token, found[i])));
  const seen = `log-probabilities differ by ${short(drift)} (${precision}: ${allowed})`;
  if (!(drift <= allowed)) return ['fail', `${seen} within the first ${at} tokens`];
  if (parted === -1 && found.length === wanted.length) return ['pass', `${at} tokens equal, ${seen}`];
  const gap = gapAt(wanted[at], found[at]);
  const near = gap !== undefined && gap <= 2 * allowed;
  const why = gap === undefined ? 'not a token that the reference holds likely' : `${short(gap)} less likely`;
  return [near ? 'pass' : 'fail', `first difference at token ${at + 1}: ${why}; ${seen}`];
}

/** A token without log-probability was not asked for it, which is misuse: as far off as can be. */
function driftOf(wanted: GeneratedToken, found: GeneratedToken | undefined): number {
  const [a, b] = [wanted.logprobs?.own.logprob, found?.logprobs?.own.logprob];
  return a === undefined || b === undefined ? Infinity : Math.abs(a - b);
}

/** By how much the reference holds the other's token for less likely; an early end has no token. */
function gapAt(wanted: GeneratedToken | undefined, found: GeneratedToken | undefined): number | undefined {
  if (!wanted?.logprobs || !found) return undefined;
  const same = wanted.logprobs.top.find(({ id }) => id === found.id);
  return same && wanted.logprobs.own.logprob - same.logprob;
}

/** Caches of keys and values are many, and judged together. */
const CACHE = /^present\./;

function judgeTensors(
  reference: Answer<readonly Tensor[]>,
  other: Answer<readonly Tensor[]> | undefined,
  tolerance: Tolerance,
): readonly (readonly [name: string, ...Judged])[] {
  const refusal = refusalOf(reference, other);
  if (refusal) return [['outputs', ...refusal]];
  const wanted = 'value' in reference ? reference.value : [];
  const found = other && 'value' in other ? other.value : [];
  const named = wanted.filter(({ name }) => !CACHE.test(name));
  const caches = wanted.filter(({ name }) => CACHE.test(name));
  return [
    ...named.map((tensor) => [tensor.name, ...judgeGroup([tensor], found, tolerance)] as const),
    ...(caches.length > 0 ? [['present.*', ...judgeGroup(caches, found, tolerance)] as const] : []),
  ];
}

function judgeGroup(wanted: readonly Tensor[], found: readonly Tensor[], tolerance: Tolerance): Judged {
  const differences: Difference[] = [];
  for (const tensor of wanted) {
    const { name, datatype, shape } = tensor;
    const other = found.find((candidate) => candidate.name === name);
    if (other?.datatype !== datatype || other.shape.join() !== shape.join()) {
      return ['fail', `${name} is not there as ${datatype} [${shape.join(', ')}]`];
    }
    const [reals, others] = [realsOf(tensor), realsOf(other)];
    if (!reals || !others) return judgeValues(tensor, other);
    differences.push(differenceOf(reals, others));
  }
  return judgeDifferences(differences, tolerance);
}

/** Whole numbers, truth values and text have no rounding. */
function judgeValues(wanted: Tensor, found: Tensor): Judged {
  const [values, others] = [valuesOf(wanted.data), valuesOf(found.data)];
  const unequal = values.filter((value, i) => value !== others[i]).length;
  return [unequal === 0 ? 'pass' : 'fail', `${unequal} of ${values.length} values differ`];
}

/** Values of a floating-point tensor; undefined for another, of which every value must be equal. */
function realsOf({ datatype, data }: Tensor): ArrayLike<number> | undefined {
  if (datatype === 'FP16') return Float32Array.from(data as Uint16Array, fromHalf);
  return datatype === 'FP32' || datatype === 'FP64' ? (data as Float32Array | Float64Array) : undefined;
}

function valuesOf(data: TensorData): readonly (number | bigint | string)[] {
  return Array.from(data as Iterable<number | bigint | string>);
}

const short = (value: number): string => (value === 0 ? '0' : value.toExponential(1));
