/**
 * Cuts a text before the first stop text in it, wherever its pieces begin and end. First is what is complete first;
 * of two that end together, the longer. A piece is held back while it may be the beginning of a stop text.
 */
export class StopText {
  readonly #stops: readonly string[];
  #held = '';
  #found = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** True once a stop text has come. */
  get found(): boolean {
    return this.#found;
  }

  /** The text that is certain to be kept. */
  push(piece: string): string {
    if (this.#stops.length === 0) return piece;
    const text = this.#held + piece;
    const cut = this.#cut(text);
    this.#found = cut !== undefined;
    const kept = cut ?? text.length - this.#open(text);
    this.#held = this.#found ? '' : text.slice(kept);
    return text.slice(0, kept);
  }

  /** What is held back, when no more text comes. */
  flush(): string {
    const held = this.#held;
    this.#held = '';
    return held;
  }

  /** Where the first stop text begins. */
  #cut(text: string): number | undefined {
    let begin: number | undefined;
    let end = Infinity;
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      if (at < 0) continue;
      if (at + stop.length < end || (at + stop.length === end && at < (begin ?? Infinity))) {
        begin = at;
        end = at + stop.length;
      }
    }
    return begin;
  }

  /** Length of the longest end of the text that a stop text begins with. */
  #open(text: string): number {
    const most = Math.max(...this.#stops.map((stop) => stop.length - 1));
    for (let length = Math.min(most, text.length); length > 0; length--) {
      const end = text.slice(-length);
      if (this.#stops.some((stop) => stop.startsWith(end))) return length;
    }
    return 0;
  }
}
