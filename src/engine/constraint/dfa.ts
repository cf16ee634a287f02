import type { Expression } from './expression.ts';
import type { Work } from './work.ts';

/** One deterministic transition: bytes `low` to `high`, both included. */
export interface Edge {
  readonly low: number;
  readonly high: number;
  readonly target: number;
}

/** A deterministic automaton over bytes. State 0 begins; from every state an accepting one can be reached. */
export interface Dfa {
  readonly accepting: readonly boolean[];
  /** Of each state in the order of their bytes, none twice. */
  readonly edges: readonly (readonly Edge[])[];
}

/** An expression that is too large, or that no text fits. The message says which. */
export class DfaError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DfaError';
  }
}

/** States of the automaton before it is made deterministic: bounds what a repetition may cost. */
const MAX_NFA_STATES = 60_000;
/** States of one deterministic automaton. */
const MAX_STATES = 4096;
/** What it costs to add one state of the former, to find one member of a set of them, and to add one to the latter. */
const ADDING_WORK = 24;
const CLOSING_WORK = 16;
const STATE_WORK = 64;

export const NO_EDGES: readonly Edge[] = [];

/** The state after this byte; undefined where there is none. */
export function follow(dfa: Dfa, state: number, byte: number): number | undefined {
  const edges = dfa.edges[state] ?? NO_EDGES;
  let first = 0;
  for (let end = edges.length; first < end;) {
    const middle = (first + end) >>> 1;
    if ((edges[middle]?.high ?? 0) < byte) first = middle + 1;
    else end = middle;
  }
  const edge = edges[first];
  return edge && edge.low <= byte ? edge.target : undefined;
}

interface NfaState {
  readonly edges: Edge[];
  readonly silent: number[];
}

/** Thompson's construction. */
class Nfa {
  readonly states: NfaState[] = [];
  readonly #work: Work;

  constructor(work: Work) {
    this.#work = work;
  }

  add(): number {
    this.#work.spend(ADDING_WORK);
    if (this.states.length === MAX_NFA_STATES) throw new DfaError('is too large');
    this.states.push({ edges: [], silent: [] });
    return this.states.length - 1;
  }

  at(state: number): NfaState {
    const found = this.states[state];
    if (!found) throw new Error('no such state');
    return found;
  }

  /** Adds an expression after this state; returns the state after it. */
  append(from: number, expression: Expression): number {
    switch (expression.kind) {
      case 'range': {
        const target = this.add();
        this.at(from).edges.push({ low: expression.low, high: expression.high, target });
        return target;
      }
      case 'sequence':
        return expression.parts.reduce((state, part) => this.append(state, part), from);
      case 'choice': {
        const end = this.add();
        for (const part of expression.parts) {
          const begin = this.add();
          this.at(from).silent.push(begin);
          this.at(this.append(begin, part)).silent.push(end);
        }
        return end;
      }
      case 'automaton':
        return this.#copy(from, expression.dfa);
      case 'repeat':
        return this.#repeat(from, expression);
    }
  }

  #copy(from: number, { edges, accepting }: Dfa): number {
    const states = edges.map(() => this.add());
    const end = this.add();
    this.at(from).silent.push(states[0] ?? end);
    for (const [i, state] of states.entries()) {
      if (accepting[i]) this.at(state).silent.push(end);
      this.#work.spend(edges[i]?.length ?? 0);
      for (const { low, high, target } of edges[i] ?? NO_EDGES) {
        this.at(state).edges.push({ low, high, target: states[target] ?? end });
      }
    }
    return end;
  }

  #repeat(from: number, { part, least, most }: Expression & { kind: 'repeat' }): number {
    let state = from;
    for (let i = 0; i < least; i++) state = this.append(state, part);
    if (most === Infinity) {
      const loop = this.add();
      this.at(state).silent.push(loop);
      this.at(this.append(loop, part)).silent.push(loop);
      return loop;
    }
    const end = this.add();
    for (let i = least; i < most; i++) {
      this.at(state).silent.push(end);
      // A state of its own: an expression that can be empty must not come back into an earlier one.
      const begin = this.add();
      this.at(state).silent.push(begin);
      state = this.append(begin, part);
    }
    this.at(state).silent.push(end);
    return end;
  }
}

/** The deterministic automaton of an expression. Throws `DfaError`. */
export function toDfa(expression: Expression, work: Work): Dfa {
  const nfa = new Nfa(work);
  const start = nfa.add();
  const end = nfa.append(start, expression);
  const sets: (readonly number[])[] = [];
  const numbers = new Map<string, number>();
  const numberOf = (members: readonly number[]): number => {
    const closed = close(nfa, members);
    work.spend(closed.length * CLOSING_WORK);
    const key = closed.join();
    const known = numbers.get(key);
    if (known !== undefined) return known;
    if (sets.length === MAX_STATES) throw new DfaError('is too large');
    work.spend(STATE_WORK);
    numbers.set(key, sets.length);
    return sets.push(closed) - 1;
  };
  numberOf([start]);
  const edges: Edge[][] = [];
  for (let i = 0; i < sets.length; i++) {
    const leaving = (sets[i] ?? []).flatMap((state) => nfa.at(state).edges);
    edges.push(split(leaving, numberOf, work));
  }
  return prune({ edges, accepting: sets.map((members) => members.includes(end)) });
}

function close(nfa: Nfa, members: readonly number[]): readonly number[] {
  const seen = new Set<number>();
  const open = [...members];
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    if (seen.has(state)) continue;
    seen.add(state);
    open.push(...nfa.at(state).silent);
  }
  return [...seen].sort((a, b) => a - b);
}

/** Cuts overlapping ranges into disjoint ones, each with the number of its set of targets. */
function split(
  leaving: readonly Edge[],
  numberOf: (members: readonly number[]) => number,
  work: Work,
): Edge[] {
  const cuts = [...new Set(leaving.flatMap(({ low, high }) => [low, high + 1]))].sort((a, b) => a - b);
  work.spend(cuts.length * leaving.length);
  const edges: Edge[] = [];
  for (const [i, low] of cuts.entries()) {
    const high = (cuts[i + 1] ?? low) - 1;
    const targets = leaving.filter((edge) => edge.low <= low && edge.high >= high && high >= low);
    if (targets.length === 0) continue;
    const target = numberOf([...new Set(targets.map((edge) => edge.target))]);
    const last = edges.at(-1);
    if (last && last.high + 1 === low && last.target === target) {
      edges[edges.length - 1] = { low: last.low, high, target };
    } else edges.push({ low, high, target });
  }
  return edges;
}

/** What both automata accept. Throws `DfaError` where that is nothing. */
export function intersect(left: Dfa, right: Dfa, work: Work): Dfa {
  const pairs: (readonly [number, number])[] = [];
  const numbers = new Map<number, number>();
  const numberOf = (a: number, b: number): number => {
    const key = a * right.edges.length + b;
    const known = numbers.get(key);
    if (known !== undefined) return known;
    if (pairs.length === MAX_STATES) throw new DfaError('is too large');
    work.spend(STATE_WORK);
    numbers.set(key, pairs.length);
    return pairs.push([a, b]) - 1;
  };
  numberOf(0, 0);
  const edges: Edge[][] = [];
  const accepting: boolean[] = [];
  for (let i = 0; i < pairs.length; i++) {
    const [a, b] = pairs[i] ?? [0, 0];
    accepting.push((left.accepting[a] ?? false) && (right.accepting[b] ?? false));
    const own: Edge[] = [];
    const others = right.edges[b] ?? NO_EDGES;
    for (const one of left.edges[a] ?? NO_EDGES) {
      work.spend(others.length);
      for (const other of others) {
        const low = Math.max(one.low, other.low);
        const high = Math.min(one.high, other.high);
        if (low <= high) own.push({ low, high, target: numberOf(one.target, other.target) });
      }
    }
    edges.push(own);
  }
  return prune({ edges, accepting });
}

/** Leaves out states from which nothing is accepted: whatever is begun can be completed. */
function prune({ edges, accepting }: Dfa): Dfa {
  const sources: number[][] = edges.map(() => []);
  for (const [state, own] of edges.entries()) for (const { target } of own) sources[target]?.push(state);
  const alive = new Set<number>();
  const open = [...accepting.keys()].filter((state) => accepting[state]);
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    if (alive.has(state)) continue;
    alive.add(state);
    open.push(...(sources[state] ?? []));
  }
  if (!alive.has(0)) throw new DfaError('fits no text');
  const kept = [...edges.keys()].filter((state) => alive.has(state));
  const renumbered = new Map(kept.map((state, i) => [state, i]));
  return {
    accepting: kept.map((state) => accepting[state] ?? false),
    edges: kept.map((state) =>
      (edges[state] ?? []).flatMap(({ low, high, target }) => {
        const number = renumbered.get(target);
        return number === undefined ? [] : [{ low, high, target: number }];
      }),
    ),
  };
}
