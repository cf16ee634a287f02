/** Documents that are remembered, at least: more than the receipts that can be fetched by id need. */
const MAX_MARKS = 250_000;

/** A published document that covers entries which none before it covers. */
export interface DocumentMark {
  readonly seq: number;
  readonly logSize: number;
}

export interface CoveringMark extends DocumentMark {
  /** Index of the `epoch` record that names it; undefined while there is none, and for `final`. */
  readonly record: number | undefined;
}

/** Which document covers an entry first. */
export class CoverageMarks {
  readonly #marks: { readonly seq: number; readonly logSize: number; record: number | undefined }[] = [];

  /** Documents made for nonces alone cover nothing new and are not remembered. */
  add({ seq, logSize }: DocumentMark): void {
    if (logSize > (this.#marks.at(-1)?.logSize ?? 0)) this.#marks.push({ seq, logSize, record: undefined });
    if (this.#marks.length > 2 * MAX_MARKS) this.#marks.splice(0, MAX_MARKS);
  }

  /** The newest document is named by the record at `index`. */
  recordNewest(seq: number, index: number): void {
    const newest = this.#marks.at(-1);
    if (newest?.seq === seq) newest.record = index;
  }

  /**
   * First document whose tree holds the entry and that a record names, for only a record dates it; else the first one
   * without. Undefined while there is none.
   */
  find(index: number): CoveringMark | undefined {
    // Sizes rise, so that the wanted document is found by halving.
    let [low, high] = [0, this.#marks.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((this.#marks[middle]?.logSize ?? 0) > index) high = middle;
      else low = middle + 1;
    }
    const first = this.#marks[low];
    // A document that was made for a nonce, in the instant in which a receipt was issued, may have no record.
    while (low < this.#marks.length && this.#marks[low]?.record === undefined) low++;
    return this.#marks[low] ?? first;
  }
}
