import type { Figure, Finding, ModelFacts, Report } from './result.ts';

type Header = Pick<Report, 'provider' | 'node' | 'cores' | 'pack' | 'gpu'>;

/** Collects what is found, in the order in which it is. */
export class Journal {
  readonly #header: Header;
  readonly #models: ModelFacts[] = [];
  readonly #findings: Finding[] = [];
  readonly #figures: Figure[] = [];

  constructor(header: Header) {
    this.#header = header;
  }

  loaded(facts: ModelFacts): void {
    this.#models.push(facts);
  }

  found(findings: readonly Finding[]): void {
    this.#findings.push(...findings);
  }

  measured(figures: readonly Figure[]): void {
    this.#figures.push(...figures);
  }

  /** A report that has no model holds nothing. */
  report(complete: boolean): Report {
    const failed = this.#findings.some(({ outcome }) => outcome === 'fail');
    return {
      ...this.#header,
      models: [...this.#models],
      findings: [...this.#findings],
      figures: [...this.#figures],
      complete,
      holds: complete && !failed && this.#models.length > 0,
    };
  }
}
