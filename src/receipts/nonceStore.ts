import { randomBytes } from 'node:crypto';
import { toHex } from '../../attestation/bytes/bytes.ts';

/** Nonces that this node gave out: each is good once, for a while, and there are never more than a fixed number. */
export class NonceStore {
  readonly #lifeMs: number;
  readonly #most: number;
  readonly #now: () => number;
  /** When each ends, in the order in which they were given: all live equally long. */
  readonly #ends = new Map<string, number>();

  constructor({ lifeMs, most, now }: { lifeMs: number; most: number; now: () => number }) {
    this.#lifeMs = lifeMs;
    this.#most = most;
    this.#now = now;
  }

  /** 32 bytes; undefined where as many as may be are out already: none is taken back for another. */
  issue(): Uint8Array | undefined {
    this.#dropEnded();
    if (this.#ends.size >= this.#most) return undefined;
    const nonce = randomBytes(32);
    this.#ends.set(toHex(nonce), this.#now() + this.#lifeMs);
    return nonce;
  }

  /** True once for each nonce that was given and has not ended. */
  take(nonce: Uint8Array): boolean {
    this.#dropEnded();
    return this.#ends.delete(toHex(nonce));
  }

  #dropEnded(): void {
    const now = this.#now();
    for (const [nonce, end] of this.#ends) {
      // A clock that went back keeps nothing alive: what would end later than its life from now has ended.
      if (end > now && end <= now + this.#lifeMs) return;
      this.#ends.delete(nonce);
    }
  }
}
