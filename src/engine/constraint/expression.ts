import type { Dfa } from './dfa.ts';

/** A regular set of byte strings. */
export type Expression =
  | { readonly kind: 'range'; readonly low: number; readonly high: number }
  | { readonly kind: 'sequence'; readonly parts: readonly Expression[] }
  | { readonly kind: 'choice'; readonly parts: readonly Expression[] }
  /** One that was made deterministic before, and is small. */
  | { readonly kind: 'automaton'; readonly dfa: Dfa }
  | { readonly kind: 'repeat'; readonly part: Expression; readonly least: number; readonly most: number };

const encoder = new TextEncoder();

export function range(low: number, high: number): Expression {
  return { kind: 'range', low, high };
}

export function sequence(...parts: readonly Expression[]): Expression {
  return { kind: 'sequence', parts };
}

/** Of no parts: nothing at all, not even the empty text. */
export function choice(...parts: readonly Expression[]): Expression {
  return { kind: 'choice', parts };
}

/** `most` may be infinite. */
export function repeat(part: Expression, least: number, most: number): Expression {
  return { kind: 'repeat', part, least, most };
}

export function optional(part: Expression): Expression {
  return repeat(part, 0, 1);
}

/** The UTF-8 of a text. */
export function literal(text: string): Expression {
  return sequence(...Array.from(encoder.encode(text), (byte) => range(byte, byte)));
}

/** One ASCII character of several ranges, given as pairs: `ascii('09af')`. */
export function ascii(pairs: string): Expression {
  const ranges: Expression[] = [];
  for (let i = 0; i < pairs.length; i += 2) ranges.push(range(pairs.charCodeAt(i), pairs.charCodeAt(i + 1)));
  return choice(...ranges);
}

export const DIGIT = range(0x30, 0x39);
