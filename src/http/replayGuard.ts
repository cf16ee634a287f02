import { ServiceError } from './errors.ts';

const SHARDS = 256;
/** Some 200 MB at the most. */
const MAX_SEEN = 4_000_000;

/**
 * Remembers every encapsulated key of this keyset's life, by 8 of its bytes. Nothing is forgotten: a carrier that
 * replays a sealed request gets a second answer from no instance. 256 small sets grow without a pause for requests.
 */
export class ReplayGuard {
  readonly #shards = Array.from({ length: SHARDS }, () => new Set<bigint>());
  readonly #limit: number;
  #seen = 0;

  constructor(limit = MAX_SEEN) {
    this.#limit = limit;
  }

  /** Throws `SEALED_REPLAY` for a key that was taken, without taking it. */
  requireNew(enc: Uint8Array): void {
    const { shard, mark } = this.#place(enc);
    if (shard.has(mark)) throw new ServiceError('SEALED_REPLAY', 'this sealed request was taken before');
    if (this.#seen >= this.#limit) {
      throw new ServiceError('SEALED_FULL', `${this.#limit} sealed requests were taken`);
    }
  }

  /** Takes a key that opened a request; at once, so that of two equal requests one is refused. */
  take(enc: Uint8Array): void {
    this.requireNew(enc);
    const { shard, mark } = this.#place(enc);
    shard.add(mark);
    this.#seen++;
  }

  #place(enc: Uint8Array): { readonly shard: Set<bigint>; readonly mark: bigint } {
    const shard = this.#shards[enc[0] ?? 0];
    if (!shard || enc.length !== 32) throw new RangeError('an encapsulated key has 32 bytes');
    return { shard, mark: new DataView(enc.buffer, enc.byteOffset).getBigUint64(8) };
  }
}
