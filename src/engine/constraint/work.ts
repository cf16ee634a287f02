import { type Dfa, DfaError } from './dfa.ts';

/**
 * Steps that compiling one specification may take, all schemas of a request together. Measured with one core to
 * itself, 2.9 GHz: PLACEHOLDER
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
