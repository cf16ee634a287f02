import { EngineError } from '../engine.ts';
import type { Node, Text } from './grammar.ts';
import { Machine, type Meter } from './machine.ts';
import type { Cell, State } from './stack.ts';
import { type TextTokens, textTokens } from './text.ts';
import type { Vocabulary } from './vocabulary.ts';

/**
 * Steps that choosing one token may take, and those of one generation together. One is a node of the vocabulary's trie
 * where it is known what follows: 30 to 50 ns on a busy machine (Node 20, AMD EPYC).
 */
export const MAX_TOKEN_WORK = 5_000_000;
export const MAX_GENERATION_WORK = 64 * MAX_TOKEN_WORK;

/** Masks that are kept of one specification: one bit for each token. */
const MAX_MASKS = 128;
/** Words of a mask that are copied, or united with another's, and tokens that are looked at, for one step. */
const COPYING = 64;
const UNITING = 4;
const LISTING = 2;

/** What one generation may cost while it runs. What others have found out already costs nothing. */
export class RunWork implements Meter {
  #left = MAX_GENERATION_WORK;
  #ofToken = 0;

  beginToken(): void {
    this.#ofToken = 0;
  }

  /** Throws `EngineError` INVALID_INPUT where no more is left. */
  spend(steps: number): void {
    this.#ofToken += steps;
    this.#left -= steps;
    if (this.#ofToken > MAX_TOKEN_WORK) throw tooMuch('choosing one token');
    if (this.#left < 0) throw tooMuch('one generation');
  }
}

function tooMuch(what: string): EngineError {
  return new EngineError('INVALID_INPUT', `the schema takes more work than ${what} may`);
}

/**
 * The tokens that may follow, one bit for each. Those of a state are those of any of its stacks, and are kept for
 * each stack: the states that many alternatives make together are more than can be walked.
 */
export class Masks {
  readonly vocabulary: Vocabulary;
  readonly #root: Node;
  #machine: Machine;
  #kept = new Map<Cell, Uint32Array>();

  constructor(root: Node, vocabulary: Vocabulary) {
    this.vocabulary = vocabulary;
    this.#root = root;
    this.#machine = new Machine(root);
  }

  /** The machine to go on with. Whoever has a state of another lets this one adopt it. */
  get machine(): Machine {
    if (this.#machine.isFull) this.#drop();
    return this.#machine;
  }

  /** The state is one of `machine`. */
  of({ cells }: State, meter: Meter): Uint32Array {
    const machine = this.#machine;
    try {
      const own = new Set(cells.map((cell) => machine.canonical(cell, this.vocabulary.longest)));
      const mask = this.#union([...own], meter);
      if (machine.isFull) this.#drop();
      return mask;
    } catch (error) {
      // What was found out for a schema that is refused helps nobody, nor the same one if it comes again.
      this.#drop();
      throw error;
    }
  }

  #union([first, ...others]: readonly Cell[], meter: Meter): Uint32Array {
    const words = Math.ceil(this.vocabulary.size / 32);
    const only = first ? this.#ofCell(first, meter) : new Uint32Array(words);
    if (others.length === 0) return only;
    const mask = only.slice();
    for (const cell of others) {
      const other = this.#ofCell(cell, meter);
      meter.spend(words / UNITING);
      for (let i = 0; i < words; i++) mask[i] = (mask[i] ?? 0) | (other[i] ?? 0);
    }
    return mask;
  }

  #drop(): void {
    this.#machine = new Machine(this.#root);
    this.#kept = new Map();
  }

  #ofCell(cell: Cell, meter: Meter): Uint32Array {
    const mask = this.#kept.get(cell) ?? this.#walked(cell, meter);
    this.#kept.delete(cell);
    this.#kept.set(cell, mask);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_MASKS && oldest !== undefined) this.#kept.delete(oldest);
    return mask;
  }

  #walked(cell: Cell, meter: Meter): Uint32Array {
    const { node } = cell;
    if (node.kind === 'text') return this.#ofText(cell, node, meter);
    const { size, trie } = this.vocabulary;
    const mask = new Uint32Array(Math.ceil(size / 32));
    meter.spend(mask.length / COPYING);
    this.#walk(mask, this.#machine.alone(cell), 0, trie.byte.length, meter);
    return mask;
  }

  /** Within a string it makes no difference what comes after it: that is walked from its end only. */
  #ofText(cell: Cell, { least, most }: Text, meter: Meter): Uint32Array {
    const { vocabulary } = this;
    const { depth, skip } = vocabulary.trie;
    const text = textTokens(vocabulary, cell.phase);
    const left = most - cell.count;
    const mask = insideOf(text, left, meter);
    const after = this.#machine.closed(cell, meter);
    if (!after) return mask;
    for (const { node: quote, before: count } of text.quotes) {
      if (cell.count + count < least || count > left) continue;
      this.#allowAll(mask, quote);
      if ((depth[quote + 1] ?? 0) > (depth[quote] ?? 0)) {
        this.#walk(mask, after, quote + 1, skip[quote] ?? 0, meter);
      }
    }
    return mask;
  }

  #allowAll(mask: Uint32Array, node: number): void {
    const { first, tokens } = this.vocabulary.trie;
    for (let i = first[node] ?? 0; i < (first[node + 1] ?? 0); i++) allow(mask, tokens[i] ?? 0);
  }

  /** Allows the tokens at nodes `from` up to `to`, which lie below the node that led to this state. */
  #walk(mask: Uint32Array, state: State, from: number, to: number, meter: Meter): void {
    const machine = this.#machine;
    const { byte, depth, skip } = this.vocabulary.trie;
    const states = new Array<State>(this.vocabulary.longest + 1);
    states[(depth[from] ?? 1) - 1] = state;
    for (let node = from; node < to;) {
      meter.spend(1);
      const level = depth[node] ?? 0;
      const next = machine.step(states[level - 1] ?? state, byte[node] ?? 0, meter);
      if (!next) {
        node = skip[node] ?? to;
        continue;
      }
      states[level] = next;
      this.#allowAll(mask, node);
      node++;
    }
  }
}

/** Tokens that stay within a string which has so many characters left. */
function insideOf(
  { inside, begun, most, mask, quotes }: TextTokens,
  left: number,
  meter: Meter,
): Uint32Array {
  meter.spend(mask.length / COPYING + quotes.length);
  if (left >= most) return mask.slice();
  meter.spend(inside.length / LISTING);
  const fitting = new Uint32Array(mask.length);
  for (let i = 0; i < inside.length; i++) if ((begun[i] ?? 0) <= left) allow(fitting, inside[i] ?? 0);
  return fitting;
}

function allow(mask: Uint32Array, id: number): void {
  mask[id >>> 5] = (mask[id >>> 5] ?? 0) | (1 << (id & 31));
}
