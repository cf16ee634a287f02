import { CollateralError } from './errors.ts';
import type { CacheEntry, CollateralCache } from './cache.ts';
import type { CollateralItem } from './item.ts';
import type { CollateralNeed } from './need.ts';
import { checkReceived, type CollateralSource, type Obtained } from './source.ts';

export interface CachedSourceOptions {
  readonly now: () => number;
  /** Asks nobody: what the cache holds, however old. */
  readonly offline?: boolean | undefined;
  /** Asks first, also where the cache holds something fresh. */
  readonly refresh?: boolean | undefined;
  /** Told once a statement could not be kept; it is used all the same. */
  readonly onUnwritable?: ((error: unknown) => void) | undefined;
}

const DAY_MS = 86_400_000;

/**
 * Puts a cache before a source. A fresh entry is used without asking; an older one only where nothing newer can be
 * had, and it says so. What is past its own end is never kept as fresh.
 */
export function cachedSource(
  source: CollateralSource,
  cache: CollateralCache,
  options: CachedSourceOptions,
): CollateralSource {
  const { now, offline = false, refresh = false } = options;
  return {
    async obtain(need, signal) {
      const kept = await recall(cache, need);
      const usable = kept && (offline || (!refresh && isFresh(kept, now())));
      if (usable) return fromCache(kept, now(), []);
      if (offline) throw new CollateralError('not-cached', 'there is no entry of it');
      const found = await ask(source, need, signal);
      if (found instanceof CollateralError) {
        if (kept) return fromCache(kept, now(), [found]);
        throw found;
      }
      return keep(found, kept, cache, options);
    },
  };
}

interface Kept extends CacheEntry {
  readonly item: CollateralItem;
}

/** An entry that today's checks refuse is none, whatever wrote it. */
async function recall(cache: CollateralCache, need: CollateralNeed): Promise<Kept | undefined> {
  const entry = await cache.read(need);
  if (!entry) return undefined;
  try {
    return { ...entry, item: checkReceived(need, entry.received) };
  } catch (error) {
    if (!(error instanceof CollateralError)) throw error;
    await cache.remove(need);
    return undefined;
  }
}

/** A clock that went back makes an entry from the future, which proves nothing about its age. */
function isFresh({ fetchedAt, freshUntil }: CacheEntry, now: number): boolean {
  return now >= fetchedAt && now < freshUntil;
}

async function ask(
  source: CollateralSource,
  need: CollateralNeed,
  signal: AbortSignal,
): Promise<Obtained | CollateralError> {
  try {
    return await source.obtain(need, signal);
  } catch (error) {
    if (error instanceof CollateralError) return error;
    throw error;
  }
}

async function keep(
  found: Obtained,
  kept: Kept | undefined,
  cache: CollateralCache,
  { now, onUnwritable }: CachedSourceOptions,
): Promise<Obtained> {
  const stale = staleness(found.item, now());
  if (stale && kept && endOf(kept.item) > endOf(found.item)) return fromCache(kept, now(), [stale]);
  const { item, fetchedAt } = found;
  const freshUntil = stale ? fetchedAt : freshnessEnd(item, fetchedAt);
  try {
    await cache.write(item.need, { received: { body: item.body, chain: item.chain }, fetchedAt, freshUntil });
  } catch (error) {
    onUnwritable?.(error);
  }
  return stale ? { ...found, remarks: [...found.remarks, stale] } : found;
}

function fromCache({ item, fetchedAt }: Kept, now: number, remarks: readonly CollateralError[]): Obtained {
  const stale = staleness(item, now);
  const repeated = remarks.some(({ code }) => code === 'stale');
  return { item, from: 'cache', fetchedAt, remarks: stale && !repeated ? [...remarks, stale] : remarks };
}

function endOf({ validity }: CollateralItem): number {
  return validity?.until ?? Number.POSITIVE_INFINITY;
}

/** An error that is said, not thrown: the statement may still be right for evidence of its time. */
export function staleness(item: CollateralItem, now: number): CollateralError | undefined {
  const end = endOf(item);
  if (end >= now) return undefined;
  const days = Math.floor((now - end) / DAY_MS);
  const age = days > 0 ? `${days} ${days === 1 ? 'day' : 'days'} ago` : 'less than a day ago';
  const message = `it ended ${age}, on ${new Date(end).toISOString()}`;
  return new CollateralError('stale', message);
}

/** Longest time for which nobody is asked again. Manifests are re-issued under one id, without a date of their own. */
export const FRESH_MS: Readonly<Record<CollateralNeed['kind'], number>> = {
  vcek: 30 * DAY_MS,
  'amd-chain': 30 * DAY_MS,
  'amd-crl': DAY_MS,
  'tcb-info': DAY_MS,
  'qe-identity': DAY_MS,
  'pck-crl': DAY_MS,
  'intel-root-crl': DAY_MS,
  rim: DAY_MS,
  ocsp: 7 * DAY_MS,
};

function freshnessEnd(item: CollateralItem, fetchedAt: number): number {
  return Math.min(endOf(item), fetchedAt + FRESH_MS[item.need.kind]);
}
