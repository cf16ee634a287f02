import { CHARACTER } from './characters.ts';
import { follow } from './dfa.ts';
import type { Vocabulary } from './vocabulary.ts';

/** What the tokens of a vocabulary do within a JSON string of any characters, whatever comes after it. */
export interface TextTokens {
  /** Tokens that stay within, and how many characters each begins. */
  readonly inside: Int32Array;
  readonly begun: Uint16Array;
  /** Those that begin the most. */
  readonly most: number;
  /** All of them, one bit for each. */
  readonly mask: Uint32Array;
  /** Nodes of the trie whose byte is the quote at the end, and how many characters begin before. */
  readonly quotes: readonly { readonly node: number; readonly before: number }[];
}

/** Before the quote that opens a string. */
export const UNOPENED = -1;
const QUOTE = 0x22;

/** Of each vocabulary and state of a character that was met. */
const KNOWN = new WeakMap<Vocabulary, Map<number, TextTokens>>();

/** The tokens after a state of `CHARACTER`, or before the string. They depend on the vocabulary alone. */
export function textTokens(vocabulary: Vocabulary, phase: number): TextTokens {
  const known = KNOWN.get(vocabulary) ?? new Map<number, TextTokens>();
  KNOWN.set(vocabulary, known);
  const tokens = known.get(phase) ?? readTokens(vocabulary, phase);
  known.set(phase, tokens);
  return tokens;
}

function readTokens({ trie, size, longest }: Vocabulary, start: number): TextTokens {
  const { byte, depth, skip, first, tokens } = trie;
  const phases = new Int16Array(longest + 1).fill(start);
  const counts = new Uint16Array(longest + 1);
  const quotes: TextTokens['quotes'][number][] = [];
  const inside: number[] = [];
  const begun: number[] = [];
  for (let node = 0; node < byte.length;) {
    const level = depth[node] ?? 0;
    const phase = phases[level - 1] ?? start;
    const before = counts[level - 1] ?? 0;
    const ends = phase === 0 && byte[node] === QUOTE;
    if (ends) quotes.push({ node, before });
    const next = ends ? undefined : after(phase, byte[node] ?? 0);
    if (next === undefined) {
      node = skip[node] ?? byte.length;
      continue;
    }
    const count = phase === 0 ? before + 1 : before;
    phases[level] = next;
    counts[level] = count;
    for (const id of tokens.subarray(first[node], first[node + 1])) {
      inside.push(id);
      begun.push(count);
    }
    node++;
  }
  return { ...listed(inside, begun, size), quotes };
}

function listed(
  inside: readonly number[],
  begun: readonly number[],
  size: number,
): Omit<TextTokens, 'quotes'> {
  const mask = new Uint32Array(Math.ceil(size / 32));
  for (const id of inside) mask[id >>> 5] = (mask[id >>> 5] ?? 0) | (1 << (id & 31));
  const most = begun.reduce((largest, count) => Math.max(largest, count), 0);
  return { inside: Int32Array.from(inside), begun: Uint16Array.from(begun), most, mask };
}

function after(phase: number, byte: number): number | undefined {
  if (phase === UNOPENED) return byte === QUOTE ? 0 : undefined;
  const state = follow(CHARACTER, phase, byte);
  return state !== undefined && CHARACTER.accepting[state] ? 0 : state;
}
