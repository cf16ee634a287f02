/** Most differences that are told one by one; the rest is counted. */
export const MAX_TOLD = 32;
/** Characters of a value that are told. */
const EXCERPT = 60;

/** What the position of a difference counts. */
export type Unit = 'element' | 'character' | 'byte' | 'chunk';

/** One place where the recorded answer and the new one are not the same. */
export interface Difference {
  /** Such as `choices[0].text`, `outputs[0].data` or `chunk 3 of choice 0`. */
  readonly where: string;
  /** First that differs, from 0; absent where the place is one value. */
  readonly position?: { readonly unit: Unit; readonly index: number };
  /** First generated token whose text differs, from 0. */
  readonly token?: number;
  readonly recorded: string;
  readonly replayed: string;
  /** How many differ, of how many. */
  readonly differing?: number;
  readonly total?: number;
  /** Largest difference between two numbers; absent where they are none. */
  readonly largest?: number;
}

export const ABSENT = '(nothing)';

/** A value as it is told, shortened. */
export function tell(value: unknown): string {
  if (value === undefined) return ABSENT;
  const text = typeof value === 'string' ? JSON.stringify(value) : textOf(value);
  return text.length > EXCERPT ? `${text.slice(0, EXCERPT)}…` : text;
}

function textOf(value: unknown): string {
  if (typeof value === 'bigint' || Object.is(value, -0) || typeof value === 'number') {
    return Object.is(value, -0) ? '-0' : String(value);
  }
  return JSON.stringify(value);
}

type Sequence = ArrayLike<unknown>;

/** Where two sequences differ; undefined where they do not. */
export function compareSequences(
  where: string,
  unit: Unit,
  recorded: Sequence,
  replayed: Sequence,
): Difference | undefined {
  const total = Math.max(recorded.length, replayed.length);
  let [first, differing, largest] = [-1, 0, -1];
  for (let i = 0; i < total; i++) {
    const [a, b] = [recorded[i], replayed[i]];
    if (Object.is(a, b)) continue;
    if (first === -1) first = i;
    differing++;
    const distance = distanceOf(a, b);
    if (distance !== undefined && distance > largest) largest = distance;
  }
  if (first === -1) return undefined;
  return {
    where,
    position: { unit, index: first },
    recorded: tell(recorded[first]),
    replayed: tell(replayed[first]),
    differing,
    total,
    ...(largest >= 0 && unit === 'element' && { largest }),
  };
}

function distanceOf(a: unknown, b: unknown): number | undefined {
  if (typeof a === 'bigint' && typeof b === 'bigint') return Number(a > b ? a - b : b - a);
  if (typeof a !== 'number' || typeof b !== 'number') return undefined;
  const distance = Math.abs(a - b);
  return Number.isNaN(distance) ? undefined : distance;
}

/** Where two texts differ; what is told begins there. */
export function compareTexts(where: string, recorded: string, replayed: string): Difference | undefined {
  const [a, b] = [Array.from(recorded), Array.from(replayed)];
  const found = compareSequences(where, 'character', a, b);
  if (!found?.position) return undefined;
  const from = found.position.index;
  return {
    ...found,
    recorded: from < a.length ? tell(a.slice(from, from + EXCERPT).join('')) : ABSENT,
    replayed: from < b.length ? tell(b.slice(from, from + EXCERPT).join('')) : ABSENT,
  };
}

/** Where two runs of bytes differ. */
export function compareByteRuns(
  where: string,
  recorded: Uint8Array,
  replayed: Uint8Array,
): Difference | undefined {
  return compareSequences(where, 'byte', recorded, replayed);
}
