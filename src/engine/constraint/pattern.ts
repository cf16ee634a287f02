import { ANYTHING, canonical, type CodeRange, complement } from './characters.ts';
import { DfaError } from './dfa.ts';
import { choice, type Expression, repeat, sequence } from './expression.ts';
import { Work } from './work.ts';

/** UTF-16 units of a pattern. */
const MAX_PATTERN = 1024;
/** Groups within groups. */
const MAX_NESTING = 16;
/** Largest count of a repetition. */
const MAX_COUNT = 1000;

const one = (character: string): CodeRange => {
  const code = character.codePointAt(0) ?? 0;
  return { low: code, high: code };
};
const span = (low: string, high: string): CodeRange => ({ low: one(low).low, high: one(high).low });

const DIGITS = [span('0', '9')];
const WORDS = [span('0', '9'), span('A', 'Z'), span('a', 'z'), one('_')];
/** White space and line terminators of ECMA-262. */
const SPACES = [
  span('\t', '\r'),
  ...Array.from(' \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff', one),
  span('\u2000', '\u200a'),
];
const CLASSES: Readonly<Record<string, readonly CodeRange[]>> = {
  d: DIGITS,
  D: complement(DIGITS),
  w: WORDS,
  W: complement(WORDS),
  s: SPACES,
  S: complement(SPACES),
};
const CONTROLS: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', f: '\f', v: '\v' };
const DOT = complement(['\n', '\r', '\u2028', '\u2029'].map(one));
const SYNTAX = '^$\\.*+?()[]{}|/';
const ANY = repeat(canonical(ANYTHING, new Work()), 0, Infinity);

/**
 * The content of a JSON string that a pattern of ECMA-262 (with the flag `u`) is found in, in the one form of
 * `canonical`. What is not regular, and what is rarely used, is refused by `DfaError`.
 */
export function parsePattern(source: string, work: Work): Expression {
  if (source.length > MAX_PATTERN) throw new DfaError(`is longer than ${MAX_PATTERN} characters`);
  const parser = new PatternParser(Array.from(source), work);
  return parser.whole();
}

class PatternParser {
  readonly #text: readonly string[];
  readonly #work: Work;
  #at = 0;
  #nesting = 0;

  constructor(text: readonly string[], work: Work) {
    this.#text = text;
    this.#work = work;
  }

  /** Branches at the top may be anchored, each by itself. */
  whole(): Expression {
    const branches: Expression[] = [];
    do {
      const begins = this.#take('^');
      const body = this.#sequence();
      const ends = this.#take('$');
      branches.push(sequence(...(begins ? [] : [ANY]), body, ...(ends ? [] : [ANY])));
    } while (this.#take('|'));
    if (this.#at < this.#text.length) this.#refuse();
    return choice(...branches);
  }

  #peek(): string | undefined {
    return this.#text[this.#at];
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }

  #next(): string {
    const character = this.#peek();
    if (character === undefined) throw new DfaError('ends too early');
    this.#at++;
    return character;
  }

  #refuse(): never {
    throw new DfaError(`has a construct at character ${this.#at} that is not supported`);
  }

  #sequence(): Expression {
    const parts: Expression[] = [];
    for (let next = this.#peek(); next !== undefined && !'|)$'.includes(next); next = this.#peek()) {
      parts.push(this.#quantified(this.#atom()));
    }
    return sequence(...parts);
  }

  #atom(): Expression {
    const character = this.#next();
    switch (character) {
      case '(':
        return this.#group();
      case '[':
        return canonical(this.#class(), this.#work);
      case '.':
        return canonical(DOT, this.#work);
      case '\\':
        return canonical(this.#escape(), this.#work);
      default:
        if (SYNTAX.includes(character) && character !== '/') {
          this.#at--;
          this.#refuse();
        }
        return canonical([one(character)], this.#work);
    }
  }

  #group(): Expression {
    if (++this.#nesting > MAX_NESTING) throw new DfaError('is nested too deeply');
    if (this.#take('?') && !this.#take(':')) this.#refuse();
    const branches = [this.#sequence()];
    while (this.#take('|')) branches.push(this.#sequence());
    if (!this.#take(')')) this.#refuse();
    this.#nesting--;
    return choice(...branches);
  }

  #escape(): readonly CodeRange[] {
    const character = this.#next();
    const known = Object.hasOwn(CLASSES, character) ? CLASSES[character] : undefined;
    if (known) return known;
    const control = Object.hasOwn(CONTROLS, character) ? CONTROLS[character] : undefined;
    if (control !== undefined) return [one(control)];
    if (SYNTAX.includes(character) || character === '-') return [one(character)];
    if (character === 'x') return [this.#code(2)];
    if (character === 'u' && this.#peek() !== '{') return [this.#code(4)];
    return this.#refuse();
  }

  #code(digits: number): CodeRange {
    const text = Array.from({ length: digits }, () => this.#next()).join('');
    if (!/^[0-9a-fA-F]+$/.test(text)) this.#refuse();
    const code = Number.parseInt(text, 16);
    return { low: code, high: code };
  }

  #class(): readonly CodeRange[] {
    const negated = this.#take('^');
    const ranges: CodeRange[] = [];
    while (!this.#take(']')) {
      const from = this.#member();
      const [first] = from;
      if (this.#peek() === '-' && this.#text[this.#at + 1] !== ']') {
        this.#at++;
        const [last] = this.#member();
        if (from.length !== 1 || !first || first.low !== first.high || last?.low !== last?.high)
          this.#refuse();
        if (last === undefined || last.low < first.low) this.#refuse();
        ranges.push({ low: first.low, high: last.low });
      } else ranges.push(...from);
    }
    return negated ? complement(ranges) : ranges;
  }

  #member(): readonly CodeRange[] {
    const character = this.#next();
    if (character === '[') this.#refuse();
    return character === '\\' ? this.#escape() : [one(character)];
  }

  #quantified(atom: Expression): Expression {
    const bounds = this.#bounds();
    if (!bounds) return atom;
    // A lazy repetition finds the same texts.
    this.#take('?');
    if ('*+{'.includes(this.#peek() ?? ' ')) this.#refuse();
    return repeat(atom, bounds[0], bounds[1]);
  }

  #bounds(): readonly [number, number] | undefined {
    if (this.#take('*')) return [0, Infinity];
    if (this.#take('+')) return [1, Infinity];
    if (this.#take('?')) return [0, 1];
    if (!this.#take('{')) return undefined;
    const least = this.#count() ?? this.#refuse();
    const most = this.#take(',') ? (this.#count() ?? Infinity) : least;
    if (!this.#take('}') || most < least) this.#refuse();
    return [least, most];
  }

  #count(): number | undefined {
    let digits = '';
    while (/^[0-9]$/.test(this.#peek() ?? '')) digits += this.#next();
    if (digits === '') return undefined;
    if (digits.length > 4 || Number(digits) > MAX_COUNT)
      throw new DfaError(`repeats more than ${MAX_COUNT} times`);
    return Number(digits);
  }
}
