import { ANYTHING, canonical } from './characters.ts';
import { type Dfa, DfaError, intersect, toDfa } from './dfa.ts';
import { choice, literal, repeat, sequence } from './expression.ts';
import { FORMATS } from './formats.ts';
import { countOf, type Place, type TypeName } from './keywords.ts';
import { type Bound, boundedInteger, boundedNumber, INTEGER, NUMBER } from './numbers.ts';
import { parsePattern } from './pattern.ts';
import { SchemaError } from './spec.ts';
import { Work } from './work.ts';

/** Values of one `enum`, and their bytes together. */
const MAX_VALUES = 1000;
const MAX_VALUE_UNITS = 32_768;
/** What one character of a value costs before its automaton is made, in steps. */
const UNIT_WORK = 16;
/** Length that a string with a pattern may be limited to. */
const MAX_PATTERN_LENGTH = 512;

const QUOTE = literal('"');
const CHARACTER = canonical(ANYTHING, new Work());

/** Runs what may be too large or empty, and names the keyword if it is. */
export function named<T>(pointer: string, keyword: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof DfaError) throw new SchemaError(pointer, keyword, error.message);
    throw error;
  }
}

/** `enum` or `const`: the values that the types allow, as `JSON.stringify` writes them. */
export function valuesDfa(
  { schema, pointer }: Place,
  types: readonly TypeName[] | undefined,
  work: Work,
): Dfa {
  const keyword = Object.hasOwn(schema, 'const') ? 'const' : 'enum';
  if (keyword === 'const' && Object.hasOwn(schema, 'enum')) {
    throw new SchemaError(pointer, 'enum', 'is not supported beside const');
  }
  const listed: unknown = keyword === 'const' ? [schema['const']] : schema['enum'];
  if (!Array.isArray(listed) || listed.length === 0 || listed.length > MAX_VALUES) {
    throw new SchemaError(pointer, keyword, `is no list of 1 to ${MAX_VALUES} values`);
  }
  const values = listed.filter((value) => types?.some((name) => isOfType(value, name)) ?? true);
  const texts = values.map((value) => JSON.stringify(value));
  const units = texts.reduce((sum, text) => sum + text.length, 0);
  if (units > MAX_VALUE_UNITS) {
    throw new SchemaError(pointer, keyword, `has more than ${MAX_VALUE_UNITS} characters`);
  }
  return named(pointer, keyword, () => {
    work.spend(UNIT_WORK * units);
    return toDfa(choice(...texts.map(literal)), work);
  });
}

function isOfType(value: unknown, name: TypeName): boolean {
  if (name === 'integer') return Number.isInteger(value);
  if (value === null) return name === 'null';
  return Array.isArray(value) ? name === 'array' : typeof value === name;
}

export function numberDfa(place: Place, whole: boolean, work: Work): Dfa {
  const lower = boundOf(place, 'minimum', 'exclusiveMinimum', (a, b) => a >= b);
  const upper = boundOf(place, 'maximum', 'exclusiveMaximum', (a, b) => a <= b);
  if (!lower && !upper) return whole ? INTEGER : NUMBER;
  const keyword = (lower ?? upper)?.keyword ?? 'minimum';
  return work.once(JSON.stringify([whole, lower, upper]), () =>
    named(place.pointer, keyword, () => (whole ? boundedInteger : boundedNumber)(lower, upper, work)),
  );
}

/** The narrower of the two bounds of one side. */
function boundOf(
  { schema, pointer }: Place,
  inclusive: string,
  exclusive: string,
  isNarrower: (a: number, b: number) => boolean,
): (Bound & { readonly keyword: string }) | undefined {
  const [open, closed] = [exclusive, inclusive].map((keyword) => {
    const value = schema[keyword];
    if (value === undefined) return undefined;
    if (typeof value !== 'number') throw new SchemaError(pointer, keyword, 'is no number');
    return { value, exclusive: keyword === exclusive, keyword };
  });
  if (!open || !closed) return open ?? closed;
  return isNarrower(open.value, closed.value) ? open : closed;
}

export interface TextBounds {
  readonly least: number;
  readonly most: number;
}

/** A string: its length where that is all that is said, else an automaton. */
export function stringShape(place: Place, work: Work): TextBounds | Dfa {
  const { schema, pointer } = place;
  const least = countOf(place, 'minLength', Number.MAX_SAFE_INTEGER) ?? 0;
  const most = countOf(place, 'maxLength', Number.MAX_SAFE_INTEGER) ?? Infinity;
  if (most < least) throw new SchemaError(pointer, 'maxLength', 'is less than minLength');
  const { pattern, format } = schema;
  if (pattern === undefined && format === undefined) return { least, most };
  return work.once(JSON.stringify([pattern, format, least, most]), () =>
    contentDfa(place, { least, most }, work),
  );
}

/** A string of which more is said than its length. */
function contentDfa(place: Place, { least, most }: TextBounds, work: Work): Dfa {
  const { schema, pointer } = place;
  const contents = [patternOf(place, work), formatOf(place)].filter((part) => part !== undefined);
  const { keyword: first = 'pattern' } = contents[0] ?? {};
  const whole = contents.map(({ dfa }) => dfa);
  if (least > 0 || most < Infinity) {
    const keyword = Object.hasOwn(schema, 'maxLength') ? 'maxLength' : 'minLength';
    if (least > MAX_PATTERN_LENGTH || (most < Infinity && most > MAX_PATTERN_LENGTH)) {
      throw new SchemaError(pointer, keyword, `beside ${first} is at most ${MAX_PATTERN_LENGTH}`);
    }
    const counted = sequence(QUOTE, repeat(CHARACTER, least, most), QUOTE);
    whole.push(named(pointer, keyword, () => toDfa(counted, work)));
  }
  return named(pointer, first, () => whole.reduce((left, right) => intersect(left, right, work)));
}

interface Content {
  readonly keyword: string;
  /** With its quotes. */
  readonly dfa: Dfa;
}

function patternOf({ schema, pointer }: Place, work: Work): Content | undefined {
  const { pattern } = schema;
  if (pattern === undefined) return undefined;
  if (typeof pattern !== 'string') throw new SchemaError(pointer, 'pattern', 'is no text');
  const keyword = 'pattern';
  return { keyword, dfa: named(pointer, keyword, () => quoted(pattern, work)) };
}

function quoted(pattern: string, work: Work): Dfa {
  return toDfa(sequence(QUOTE, parsePattern(pattern, work), QUOTE), work);
}

/** Automata of the formats: made once, on nobody's account. */
const FORMAT_AUTOMATA: ReadonlyMap<unknown, Dfa> = new Map(
  Object.entries(FORMATS).map(([name, pattern]) => [name, quoted(pattern, new Work())]),
);

function formatOf({ schema, pointer }: Place): Content | undefined {
  const { format } = schema;
  if (format === undefined) return undefined;
  const dfa = FORMAT_AUTOMATA.get(format);
  if (dfa) return { keyword: 'format', dfa };
  const known = [...FORMAT_AUTOMATA.keys()].join(', ');
  throw new SchemaError(pointer, 'format', `is none of those that are enforced: ${known}`);
}
