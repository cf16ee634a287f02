import { JsonError } from './strict.ts';

/** Nesting that a document in this form has at most; the deepest of ACI's has six levels. */
const MAX_DEPTH = 32;
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * The one text of a value by RFC 8785 (JCS): no white space, names in the order of their UTF-16 code units, numbers
 * and strings as ECMAScript writes them. What I-JSON (RFC 7493) has no form for is refused with `JsonError`: numbers
 * that are not finite, half a surrogate pair, `undefined`, and whatever is no plain data.
 */
export function canonicalJson(value: unknown): string {
  return write(value, 0);
}

function write(value: unknown, depth: number): string {
  if (depth > MAX_DEPTH) throw new JsonError(`is nested deeper than ${MAX_DEPTH} levels`);
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return writeNumber(value);
  if (typeof value === 'string') return writeString(value);
  if (typeof value === 'object') return writeComposite(value, depth);
  throw new JsonError(`holds a value of the kind ${typeof value}`);
}

/** ECMAScript's shortest form is the one that RFC 8785 section 3.2.2.3 takes, -0 as 0. */
function writeNumber(value: number): string {
  if (Number.isFinite(value)) return JSON.stringify(value);
  throw new JsonError('holds a number that is not finite');
}

function writeString(text: string): string {
  if (LONE_SURROGATE.test(text)) throw new JsonError('holds half a surrogate pair');
  return JSON.stringify(text);
}

function writeComposite(value: object, depth: number): string {
  if (Array.isArray(value)) {
    // By index: `map` would leave out the holes of an array, which are no data.
    return `[${Array.from(value, (item) => write(item, depth + 1)).join(',')}]`;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw new JsonError('holds an object of a class');
  const members = Object.entries(value)
    // By UTF-16 code units, as `<` compares text; a name stands once in an object.
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${writeString(name)}:${write(member, depth + 1)}`);
  return `{${members.join(',')}}`;
}
