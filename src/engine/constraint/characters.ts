import { type Dfa, toDfa } from './dfa.ts';
import { ascii, choice, type Expression, literal, range, sequence } from './expression.ts';
import { Work } from './work.ts';

/** Code points from `low` to `high`, both included. */
export interface CodeRange {
  readonly low: number;
  readonly high: number;
}

const LAST = 0x10ffff;
const SURROGATES = { low: 0xd800, high: 0xdfff };
/** Ranges within which UTF-8 has one length (RFC 3629 section 3). */
const LENGTHS = [
  { low: 0, high: 0x7f, bytes: 1 },
  { low: 0x80, high: 0x7ff, bytes: 2 },
  { low: 0x800, high: 0xd7ff, bytes: 3 },
  { low: 0xe000, high: 0xffff, bytes: 3 },
  { low: 0x10000, high: LAST, bytes: 4 },
];
const LEAD = [0, 0, 0xc0, 0xe0, 0xf0];

/** Sorted and without overlaps. */
export function normalise(ranges: readonly CodeRange[]): readonly CodeRange[] {
  const merged: CodeRange[] = [];
  for (const { low, high } of [...ranges].sort((a, b) => a.low - b.low)) {
    const last = merged.at(-1);
    if (last && low <= last.high + 1)
      merged[merged.length - 1] = { low: last.low, high: Math.max(last.high, high) };
    else merged.push({ low, high });
  }
  return merged;
}

/** Every code point that is not in the ranges. */
export function complement(ranges: readonly CodeRange[]): readonly CodeRange[] {
  const missing: CodeRange[] = [];
  let next = 0;
  for (const { low, high } of normalise(ranges)) {
    if (low > next) missing.push({ low: next, high: low - 1 });
    next = high + 1;
  }
  if (next <= LAST) missing.push({ low: next, high: LAST });
  return missing;
}

/** UTF-8 of the code points of these ranges; surrogates have none. */
export function utf8Of(ranges: readonly CodeRange[]): Expression {
  const parts = normalise(ranges).flatMap(({ low, high }) =>
    LENGTHS.flatMap((length) => {
      const from = Math.max(low, length.low);
      const to = Math.min(high, length.high);
      return from <= to ? sameLength(from, to, length.bytes) : [];
    }),
  );
  return choice(...parts);
}

/** Splits a range until all but the first differing byte run over everything. */
function sameLength(low: number, high: number, bytes: number): readonly Expression[] {
  for (let tail = bytes - 1; tail > 0; tail--) {
    const span = 2 ** (6 * tail);
    if (Math.floor(low / span) === Math.floor(high / span)) continue;
    const next = (Math.floor(low / span) + 1) * span;
    const last = Math.floor(high / span) * span;
    if (low % span !== 0) return [...sameLength(low, next - 1, bytes), ...sameLength(next, high, bytes)];
    if (high % span !== span - 1)
      return [...sameLength(low, last - 1, bytes), ...sameLength(last, high, bytes)];
  }
  const lows = encode(low, bytes);
  const highs = encode(high, bytes);
  return [sequence(...lows.map((byte, i) => range(byte, highs[i] ?? byte)))];
}

function encode(code: number, bytes: number): readonly number[] {
  if (bytes === 1) return [code];
  const tail = Array.from({ length: bytes - 1 }, (_, i) => 0x80 | ((code >> (6 * (bytes - 2 - i))) & 0x3f));
  return [(LEAD[bytes] ?? 0) | (code >> (6 * (bytes - 1))), ...tail];
}

/** What sorting and splitting one range costs, in steps. */
const RANGE_WORK = 8;

const PLAIN = [
  { low: 0x20, high: 0x21 },
  { low: 0x23, high: 0x5b },
  { low: 0x5d, high: SURROGATES.low - 1 },
  { low: SURROGATES.high + 1, high: LAST },
];

/** These characters as `JSON.stringify` writes them within a string: each has exactly one form. */
export function canonical(ranges: readonly CodeRange[], work: Work): Expression {
  work.spend(RANGE_WORK * (ranges.length + 1));
  const parts: Expression[] = [];
  for (const { low, high } of normalise(ranges)) {
    for (let code = low; code <= Math.min(high, 0x5c); code++) {
      if (code < 0x20 || code === 0x22 || code === 0x5c) {
        parts.push(literal(JSON.stringify(String.fromCharCode(code)).slice(1, -1)));
      }
    }
    for (const plain of PLAIN) {
      const from = Math.max(low, plain.low);
      const to = Math.min(high, plain.high);
      if (from <= to) parts.push(utf8Of([{ low: from, high: to }]));
    }
  }
  return parts.length === 0 ? choice() : { kind: 'automaton', dfa: toDfa(choice(...parts), work) };
}

const HEX = ascii('09afAF');

/** `\u` escapes of one character: no half of a surrogate pair without the other. */
function escapedUnits(): Expression {
  const notD = ascii('09acefACEF');
  const d = ascii('ddDD');
  const low = sequence(literal('\\u'), d, ascii('cfCF'), HEX, HEX);
  return choice(
    sequence(literal('u'), notD, HEX, HEX, HEX),
    sequence(literal('u'), d, ascii('07'), HEX, HEX),
    sequence(literal('u'), d, ascii('89abAB'), HEX, HEX, low),
  );
}

export const ANYTHING: readonly CodeRange[] = [{ low: 0, high: LAST }];

/** One character of a JSON string (RFC 8259 section 7) in every form. Its accepting states have no edges. */
export const CHARACTER: Dfa = toDfa(
  choice(utf8Of(PLAIN), sequence(literal('\\'), choice(ascii('""\\\\//bbffnnrrtt'), escapedUnits()))),
  new Work(),
);

/** One character in its one form: two names are equal if and only if their bytes are. */
export const CANONICAL_CHARACTER: Dfa = toDfa(canonical(ANYTHING, new Work()), new Work());
