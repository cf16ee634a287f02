import { ENC_BYTES } from '../../attestation/channel/suites.ts';
import { ServiceError } from './errors.ts';

const SHARDS = 256;
/** Lengths of encapsulated keys: of X25519, and of X-Wing, which is an ML-KEM ciphertext and an X25519 key. */
const LENGTHS: readonly number[] = [ENC_BYTES.x25519, ENC_BYTES.hybrid];
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
    if (!shard || !LENGTHS.includes(enc.length)) {
      throw new RangeError(`an encapsulated key has no ${enc.length} bytes`);
    }
    return { shard, mark: new DataView(enc.buffer, enc.byteOffset).getBigUint64(8) };
  }
}
