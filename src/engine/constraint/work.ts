import { type Dfa, DfaError } from './dfa.ts';

/**
 * Steps that compiling one specification may take, all schemas of a request together. Processor time of a step on a
 * busy machine (Node 20, AMD EPYC): 11 to 40 ns, so that the worst schema that was found takes 0.27 s. Of it a schema
 * of twenty texts takes 9,000 steps, one `pattern` of thirty repeated characters 65,000, two bounds 10,000, and a
 * `pattern` of a thousand equal letters all.
 */
export const MAX_WORK = 8_000_000;

/** What compiling one specification may cost: everything that grows with what a request says is taken from it. */
export class Work {
  #spent = 0;
  readonly #made = new Map<string, Dfa>();

  get spent(): number {
    return this.#spent;
  }

  /** Throws `DfaError` where no more is left. */
  spend(steps: number): void {
    this.#spent += steps;
    if (this.#spent > MAX_WORK) throw new DfaError('takes more work than all schemas of a request may');
  }

  /** Makes the automaton that this text says all of; one that was made before costs nothing. */
  once(key: string, make: () => Dfa): Dfa {
    const dfa = this.#made.get(key) ?? make();
    this.#made.set(key, dfa);
    return dfa;
  }
}
