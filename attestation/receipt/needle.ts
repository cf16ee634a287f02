/**
 * Bytes that are looked for at a place again and again: compared in words of four bytes, four words at a time, without
 * a view of the place.
 */
export class Needle {
  readonly length: number;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;

  constructor(bytes: Uint8Array) {
    // A copy: of a Buffer, `slice` would be a view of bytes that their owner may use again.
    this.#bytes = Uint8Array.from(bytes);
    this.length = bytes.length;
    const view = viewOf(this.#bytes);
    this.#words = new Int32Array(bytes.length >> 2);
    for (let i = 0; i < this.#words.length; i++) this.#words[i] = view.getInt32(4 * i, true);
  }

  /** Whether they stand at `start`. */
  isAt(view: DataView, start: number): boolean {
    const [bytes, words, length] = [this.#bytes, this.#words, this.length];
    if (start + length > view.byteLength) return false;
    const count = words.length;
    let i = 0;
    for (; i + 4 <= count; i += 4) {
      const at = start + 4 * i;
      const differing =
        (view.getInt32(at, true) ^ (words[i] as number)) |
        (view.getInt32(at + 4, true) ^ (words[i + 1] as number)) |
        (view.getInt32(at + 8, true) ^ (words[i + 2] as number)) |
        (view.getInt32(at + 12, true) ^ (words[i + 3] as number));
      if (differing !== 0) return false;
    }
    for (; i < count; i++) if (view.getInt32(start + 4 * i, true) !== words[i]) return false;
    for (let k = count << 2; k < length; k++) if (view.getUint8(start + k) !== bytes[k]) return false;
    return true;
  }
}

export function viewOf({ buffer, byteLength, byteOffset }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
