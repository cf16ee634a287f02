import { type Dfa, DfaError, intersect, toDfa } from './dfa.ts';
import { choice, DIGIT, type Expression, literal, optional, range, repeat, sequence } from './expression.ts';
import { Work } from './work.ts';

/** A bound, and whether the number itself is outside. */
export interface Bound {
  readonly value: number;
  readonly exclusive: boolean;
}

/** Digits that JavaScript writes before it takes an exponent. */
const INTEGER_DIGITS = 21;
const FRACTION_DIGITS = 25;
/** Decimals of so many digits are different doubles if they are different (IEEE 754: 15.95 digits). */
const EXACT_DIGITS = 15;
/** Digits before the point of a number that is bounded on one side. */
const OPEN_DIGITS = 9;

const NON_ZERO = range(0x31, 0x39);
const ZERO = literal('0');
const MINUS = literal('-');
const POINT = literal('.');
const ANY_DIGITS = repeat(DIGIT, 0, Infinity);
const ANY_FRACTION = optional(sequence(POINT, repeat(DIGIT, 1, Infinity)));
const POSITIVE_REST = sequence(repeat(ZERO, 0, Infinity), NON_ZERO, ANY_DIGITS);

function whole(digits: number): Expression {
  return sequence(NON_ZERO, repeat(DIGIT, 0, digits - 1));
}

/** Zero has no sign unless a fraction follows. */
function decimals(wholeDigits: number, fractionDigits: number): Expression {
  const own = whole(wholeDigits);
  if (fractionDigits === 0) return choice(ZERO, sequence(optional(MINUS), own));
  const fraction = sequence(POINT, repeat(DIGIT, 1, fractionDigits));
  return choice(
    ZERO,
    sequence(optional(MINUS), choice(sequence(ZERO, fraction), sequence(own, optional(fraction)))),
  );
}

const EXPONENT = choice(literal('e'), literal('E'));
const PLUS = optional(literal('+'));
const FRACTION = repeat(DIGIT, 0, FRACTION_DIGITS - 1);

/** Exponents after one digit, as JavaScript writes them: every number is finite, and less than 1.7e308. */
const EXPONENTIAL = sequence(
  optional(MINUS),
  choice(
    sequence(
      NON_ZERO,
      optional(sequence(POINT, DIGIT, FRACTION)),
      EXPONENT,
      choice(
        sequence(MINUS, repeat(DIGIT, 1, 3)),
        sequence(PLUS, choice(repeat(DIGIT, 1, 2), sequence(range(0x31, 0x32), DIGIT, DIGIT))),
        sequence(PLUS, literal('30'), range(0x30, 0x37)),
      ),
    ),
    sequence(
      literal('1'),
      optional(sequence(POINT, range(0x30, 0x36), FRACTION)),
      EXPONENT,
      PLUS,
      literal('308'),
    ),
  ),
);

export const INTEGER: Dfa = toDfa(decimals(INTEGER_DIGITS, 0), new Work());
export const NUMBER: Dfa = toDfa(choice(decimals(INTEGER_DIGITS, FRACTION_DIGITS), EXPONENTIAL), new Work());

/** Whole numbers within bounds. Throws `DfaError`. */
export function boundedInteger(lower: Bound | undefined, upper: Bound | undefined, work: Work): Dfa {
  const up = ({ value, exclusive }: Bound): number =>
    exclusive && Number.isInteger(value) ? value + 1 : Math.ceil(value);
  const down = ({ value, exclusive }: Bound): number =>
    exclusive && Number.isInteger(value) ? value - 1 : Math.floor(value);
  const least = lower && inclusive(up(lower));
  const most = upper && inclusive(down(upper));
  for (const bound of [least, most]) {
    if (bound && !Number.isSafeInteger(bound.value)) throw new DfaError('is beyond the safe integers');
  }
  return within(decimals(INTEGER_DIGITS, 0), least, most, work);
}

function inclusive(value: number): Bound {
  return { value, exclusive: false };
}

/** Decimals within bounds, without exponents. Throws `DfaError`. */
export function boundedNumber(lower: Bound | undefined, upper: Bound | undefined, work: Work): Dfa {
  const stated = [lower, upper].filter((bound) => bound !== undefined).map(({ value }) => toDecimal(value));
  const needed = Math.max(...stated.map((value) => value.whole.length));
  const wholeDigits = stated.length === 2 ? needed : Math.max(needed, OPEN_DIGITS);
  const fractionDigits = EXACT_DIGITS - wholeDigits;
  if (fractionDigits < 1 || stated.some(({ fraction }) => fraction.length > fractionDigits)) {
    throw new DfaError('has too many digits');
  }
  return within(decimals(wholeDigits, fractionDigits), lower, upper, work);
}

function within(base: Expression, lower: Bound | undefined, upper: Bound | undefined, work: Work): Dfa {
  const least = lower ? [toDfa(atLeast(lower), work)] : [];
  const most = upper ? [toDfa(atMost(upper), work)] : [];
  return [...least, ...most].reduce((left, right) => intersect(left, right, work), toDfa(base, work));
}

/** A number without its sign: digits before the point, and after it without zeros at the end. */
interface Magnitude {
  readonly whole: string;
  readonly fraction: string;
}

function toDecimal(value: number): Magnitude {
  const text = String(Math.abs(value));
  if (!/^\d+(?:\.\d+)?$/.test(text)) throw new DfaError('has too many digits');
  const [digits = '0', fraction = ''] = text.split('.');
  return { whole: digits, fraction };
}

function atLeast({ value, exclusive }: Bound): Expression {
  const bound = toDecimal(value);
  if (value >= 0) return above(bound, exclusive);
  return choice(above({ whole: '0', fraction: '' }, false), sequence(MINUS, below(bound, exclusive)));
}

function atMost({ value, exclusive }: Bound): Expression {
  const bound = toDecimal(value);
  // Below zero: -0.0 is zero.
  if (value < 0 || (value === 0 && exclusive)) return sequence(MINUS, above(bound, exclusive));
  const negative = sequence(MINUS, above({ whole: '0', fraction: '' }, false));
  return choice(negative, below(bound, exclusive));
}

/** Decimals of at least this magnitude. */
function above({ whole: digits, fraction }: Magnitude, exclusive: boolean): Expression {
  const longer = sequence(repeat(DIGIT, digits.length, Infinity));
  const larger = choice(sequence(NON_ZERO, longer), ...largerDigits(digits));
  const same = sequence(literal(digits), largerFraction(fraction, exclusive));
  return choice(sequence(larger, ANY_FRACTION), same);
}

/** Numbers of as many digits that are larger. */
function largerDigits(digits: string): readonly Expression[] {
  return Array.from(digits).flatMap((digit, i) =>
    digit === '9'
      ? []
      : [
          sequence(
            literal(digits.slice(0, i)),
            range(digit.charCodeAt(0) + 1, 0x39),
            repeat(DIGIT, digits.length - i - 1, digits.length - i - 1),
          ),
        ],
  );
}

function largerFraction(fraction: string, exclusive: boolean): Expression {
  if (fraction === '') return exclusive ? sequence(POINT, POSITIVE_REST) : ANY_FRACTION;
  const larger = Array.from(fraction).flatMap((digit, i) =>
    digit === '9'
      ? []
      : [sequence(literal(fraction.slice(0, i)), range(digit.charCodeAt(0) + 1, 0x39), ANY_DIGITS)],
  );
  const same = sequence(literal(fraction), exclusive ? POSITIVE_REST : ANY_DIGITS);
  return sequence(POINT, choice(...larger, same));
}

/** Decimals of at most this magnitude. */
function below({ whole: digits, fraction }: Magnitude, exclusive: boolean): Expression {
  const shorter = digits.length === 1 ? [] : [ZERO, whole(digits.length - 1)];
  const smaller = choice(...shorter, ...smallerDigits(digits));
  const same = sequence(literal(digits), smallerFraction(fraction, exclusive));
  return choice(sequence(smaller, ANY_FRACTION), same);
}

/** Numbers of as many digits that are smaller. */
function smallerDigits(digits: string): readonly Expression[] {
  return Array.from(digits).flatMap((digit, i) => {
    const lowest = i === 0 && digits.length > 1 ? 0x31 : 0x30;
    const highest = digit.charCodeAt(0) - 1;
    const rest = digits.length - i - 1;
    if (highest < lowest) return [];
    return [sequence(literal(digits.slice(0, i)), range(lowest, highest), repeat(DIGIT, rest, rest))];
  });
}

function smallerFraction(fraction: string, exclusive: boolean): Expression {
  const zeros = repeat(ZERO, 0, Infinity);
  if (fraction === '') return exclusive ? choice() : optional(sequence(POINT, ZERO, zeros));
  const parts = Array.from(fraction).flatMap((digit, i) => {
    const before = literal(fraction.slice(0, i));
    const less = digit === '0' ? [] : [sequence(before, range(0x30, digit.charCodeAt(0) - 1), ANY_DIGITS)];
    return i === 0 ? less : [...less, before];
  });
  const same = exclusive ? [] : [sequence(literal(fraction), zeros)];
  return optional(sequence(POINT, choice(...parts, ...same)));
}
