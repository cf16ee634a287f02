import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import { readVarint, varintLength } from './varint.ts';

/** What a reader of bytes that are still coming yields while it waits for more. */
export type Waiting = undefined;

/**
 * Bytes that come in parts, for parsers written as generators: each waits by yielding, and a cut is refused as
 * `MALFORMED` where something was begun.
 */
export class Inbox {
  readonly #parts: Uint8Array[] = [];
  readonly #what: string;
  #available = 0;
  #ended = false;

  /** `what` names the message in refusals. */
  constructor(what: string) {
    this.#what = what;
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#parts.push(bytes);
    this.#available += bytes.length;
  }

  /** Nothing more will come. */
  finish(): void {
    this.#ended = true;
  }

  /** Bytes that are here. */
  get available(): number {
    return this.#available;
  }

  /** Waits until something is here; true where there will be nothing more. */
  *atEnd(): Generator<Waiting, boolean> {
    while (this.#available === 0) {
      if (this.#ended) return true;
      yield undefined;
    }
    return false;
  }

  /** Waits for exactly `length` bytes. Bound the length first: so much is kept. */
  *take(length: number): Generator<Waiting, Uint8Array> {
    while (this.#available < length) {
      if (this.#ended) throw this.refusal('it is cut short');
      yield undefined;
    }
    return this.#remove(length);
  }

  /** Waits for some bytes, at most `length` of them. */
  *takeSome(length: number): Generator<Waiting, Uint8Array> {
    if (yield* this.atEnd()) throw this.refusal('it is cut short');
    return this.#remove(Math.min(length, this.#parts[0]?.length ?? 0));
  }

  /** Everything until the end, which may be nothing; refused beyond `most` bytes. */
  *takeRest(most: number): Generator<Waiting, Uint8Array> {
    while (!this.#ended) {
      if (this.#available > most) break;
      yield undefined;
    }
    if (this.#available > most) throw this.refusal(`its end has more than ${most} bytes`);
    return this.#remove(this.#available);
  }

  /** An integer of QUIC. */
  *varint(): Generator<Waiting, number> {
    const first = yield* this.take(1);
    const rest = yield* this.take(varintLength(first[0] ?? 0) - 1);
    const bytes = new Uint8Array(1 + rest.length);
    bytes.set(first);
    bytes.set(rest, 1);
    return readVarint(new ByteReader(bytes, this.#what));
  }

  refusal(detail: string): Refusal {
    return new Refusal('MALFORMED', `${this.#what}: ${detail}`);
  }

  /** Views where the bytes lie in one part, as they mostly do. */
  #remove(length: number): Uint8Array {
    const [first] = this.#parts;
    this.#available -= length;
    if (length === 0 || !first) return new Uint8Array(0);
    if (first.length > length) {
      this.#parts[0] = first.subarray(length);
      return first.subarray(0, length);
    }
    if (first.length === length) {
      this.#parts.shift();
      return first;
    }
    return this.#join(length);
  }

  #join(length: number): Uint8Array {
    const taken = new Uint8Array(length);
    let filled = 0;
    let used = 0;
    while (filled < length) {
      const part = this.#parts[used] ?? taken;
      const piece = part.subarray(0, length - filled);
      taken.set(piece, filled);
      filled += piece.length;
      if (piece.length === part.length) used++;
      else this.#parts[used] = part.subarray(piece.length);
    }
    this.#parts.splice(0, used);
    return taken;
  }
}
