import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 4096;

/** Random bytes for many small needs: to ask for them one by one takes some ten times as long as to copy them. */
const pool = new Uint8Array(POOL_BYTES);
let taken = POOL_BYTES;

/** At most 1,024 random bytes that nobody else has. What was given out does not stay in the pool. */
export function drawRandom(count: number): Uint8Array {
  if (count > POOL_BYTES / 4) throw new RangeError(`${count} bytes are no small need`);
  if (taken + count > POOL_BYTES) {
    randomFillSync(pool);
    taken = 0;
  }
  const drawn = pool.slice(taken, taken + count);
  pool.fill(0, taken, taken + count);
  taken += count;
  return drawn;
}
