/**
 * Certificate signatures that were found good, at most `limit` of them: the longest unused is forgotten first.
 *
 * Why a hit is as good as a verification: an entry is the SHA-256 of every input of the check (signed bytes,
 * algorithm, issuer's key and signature, see `chain.ts`), so one altered bit is another entry, and a signature that
 * verified once verifies forever. Nothing else is remembered. Time, names, constraints, key usage and critical
 * extensions are judged anew on every use, and the caller compares the root with its pins before it asks. Only
 * `verifyChain` adds entries, and only those of a chain that passed as a whole, so nobody without a chain under a
 * pinned root can fill the cache. It holds no keys, no names and no evidence, and must be trusted like the verifier's
 * own memory.
 */
export interface ChainCache {
  /** Signatures remembered now. */
  readonly size: number;
  /** Whether the signature is remembered; it is then the most recently used. */
  has(signature: string): boolean;
  add(signature: string): void;
}

/** A cache for `ChainOptions.chainCache`. A chain of three certificates takes three entries of about 100 bytes. */
export function createChainCache(limit: number): ChainCache {
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw new RangeError('a chain cache holds at least one entry');
  // A Set keeps the order of insertion: its first entry is the one longest unused.
  const entries = new Set<string>();
  const use = (signature: string): void => {
    entries.delete(signature);
    entries.add(signature);
  };
  return {
    get size() {
      return entries.size;
    },
    has(signature) {
      const found = entries.has(signature);
      if (found) use(signature);
      return found;
    },
    add(signature) {
      use(signature);
      const [oldest] = entries;
      if (entries.size > limit && oldest !== undefined) entries.delete(oldest);
    },
  };
}
