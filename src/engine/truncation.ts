/** Keeps `count` weights, the smallest ids among equals; the others become 0. Weights are from 0 to 1. */
export function keepLargest(weights: Float64Array, count: number): void {
  let above = 0;
  for (const group of rankedGroups(weights)) {
    if (above + group.length >= count) {
      keepFrom(weights, group.sort(), above + group.length - count);
      return;
    }
    above += group.length;
  }
}

/**
 * Keeps the fewest largest weights that have this share together, at least one, the smallest ids among equals; the
 * others become 0. Weights are from 0 to 1 and are added up from the largest on.
 */
export function keepNucleus(weights: Float64Array, share: number): void {
  const needed = share * sum(weights);
  let mass = 0;
  for (const group of rankedGroups(weights)) {
    group.sort();
    for (let place = group.length - 1; place >= 0; place--) {
      mass += group[place] ?? 0;
      if (mass < needed) continue;
      keepFrom(weights, group, place);
      return;
    }
  }
}

export function sum(weights: Float64Array): number {
  let total = 0;
  for (let id = 0; id < weights.length; id++) total += weights[id] ?? 0;
  return total;
}

/** Exponent and the first five bits of the fraction of a double; 1 has the largest that a weight has. */
const BUCKET_SHIFT = 15;
const TOP_BUCKET = 0x3ff0_0000 >>> BUCKET_SHIFT;
/** Place of the more significant half of a double among two 32-bit numbers. */
const HIGH_HALF = new Uint32Array(Float64Array.of(1).buffer)[1] === 0 ? 0 : 1;

/**
 * The weights above 0 in groups that fall: each weight of a group is larger than all of the next one. Only groups that
 * are needed have to be sorted. Vocabularies are large: plain loops over typed arrays are what is fast here.
 */
function* rankedGroups(weights: Float64Array): Generator<Float64Array> {
  const halves = new Uint32Array(weights.buffer, weights.byteOffset, 2 * weights.length);
  const ends = new Uint32Array(TOP_BUCKET + 1);
  for (let id = 0; id < weights.length; id++) {
    if (weights[id] === 0) continue;
    const bucket = TOP_BUCKET - ((halves[2 * id + HIGH_HALF] ?? 0) >>> BUCKET_SHIFT);
    ends[bucket] = (ends[bucket] ?? 0) + 1;
  }
  let count = 0;
  for (let bucket = 0; bucket <= TOP_BUCKET; bucket++) {
    const own = ends[bucket] ?? 0;
    ends[bucket] = count;
    count += own;
  }
  const grouped = new Float64Array(count);
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id] ?? 0;
    if (weight === 0) continue;
    const bucket = TOP_BUCKET - ((halves[2 * id + HIGH_HALF] ?? 0) >>> BUCKET_SHIFT);
    const place = ends[bucket] ?? 0;
    grouped[place] = weight;
    ends[bucket] = place + 1;
  }
  let from = 0;
  for (const end of ends) {
    if (end > from) yield grouped.subarray(from, end);
    from = end;
  }
}

/** Keeps larger weights and those from this place of their sorted group on, the smallest ids among equals. */
function keepFrom(weights: Float64Array, sorted: Float64Array, place: number): void {
  const least = sorted[place] ?? 0;
  let equals = sorted.lastIndexOf(least) - place + 1;
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id] ?? 0;
    if (weight > least) continue;
    if (weight === least && equals > 0) equals--;
    else weights[id] = 0;
  }
}
