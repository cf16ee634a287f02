import type { Collateral } from '../../attestation/collateral.ts';
import { assembleCollateral } from './assemble.ts';
import { CollateralCache } from './cache.ts';
import { cachedSource, staleness } from './cachedSource.ts';
import { CollateralError } from './errors.ts';
import type { HttpOptions } from './http.ts';
import { distinctNeeds, needKey, needName, vendorOf, type CollateralNeed } from './need.ts';
import { networkSource, type CollateralSource, type Obtained, type SourceAddresses } from './source.ts';
import { manifestStatusNeeds } from './statusNeeds.ts';
import { withTimeLimit } from './timeLimit.ts';

/** More than any machine needs would only serve to make others work: 64 devices of one kind need some 200. */
export const MAX_NEEDS = 256;

/** What became of one need. */
export type Outcome =
  | { readonly need: CollateralNeed; readonly obtained: Obtained }
  | { readonly need: CollateralNeed; readonly error: CollateralError };

export interface Observer {
  readonly started?: (need: CollateralNeed) => void;
  readonly finished?: (outcome: Outcome) => void;
  /** Before a pause that a service asked for, or after a failure that may pass. */
  readonly pausing?: (milliseconds: number, because: CollateralError) => void;
  readonly cacheUnwritable?: (error: unknown) => void;
}

export interface CollateralOptions extends Omit<HttpOptions, 'onPause'> {
  readonly addresses?: SourceAddresses;
  /** Folder of the cache; none by default. See `defaultCacheFolder`. */
  readonly cacheFolder?: string | undefined;
  /** The cache alone. */
  readonly offline?: boolean | undefined;
  /** Asks also where the cache holds something fresh. */
  readonly refresh?: boolean | undefined;
  /** Asks OCSP responders, for the signers of manifests too; true by default. */
  readonly ocsp?: boolean | undefined;
  /** For everything together; two minutes by default. */
  readonly totalTimeoutMs?: number | undefined;
  /** Ends everything; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds since 1970; the clock of this machine by default. */
  readonly now?: () => number;
  readonly observer?: Observer;
}

/** The sources that the options name, behind one interface. */
export function openSource(options: CollateralOptions): CollateralSource {
  const { addresses = {}, cacheFolder, offline = false, refresh, now = Date.now, observer = {} } = options;
  const network = networkSource(addresses, { ...options, onPause: observer.pausing }, now);
  if (cacheFolder !== undefined) {
    const cache = new CollateralCache(cacheFolder);
    return cachedSource(network, cache, { now, offline, refresh, onUnwritable: observer.cacheUnwritable });
  }
  if (offline) throw new TypeError('offline there is nothing but a cache: name its folder');
  return network;
}

/**
 * Asks for all of it and says what became of each, in the order of the needs; then for the statuses of the signers of
 * the manifests that came, which nobody knows before. One vendor is asked one thing after the other, as AMD's service
 * counts requests; vendors are asked side by side.
 */
export async function gatherCollateral(
  needs: readonly CollateralNeed[],
  options: CollateralOptions = {},
): Promise<readonly Outcome[]> {
  const { totalTimeoutMs = 120_000, signal: outer, now = Date.now, observer = {}, ocsp = true } = options;
  const wanted = distinctNeeds(needs).filter(({ kind }) => ocsp || kind !== 'ocsp');
  if (wanted.length > MAX_NEEDS) throw new TypeError(`more than ${MAX_NEEDS} statements are asked for`);
  const source = openSource(options);
  return withTimeLimit(totalTimeoutMs, outer, 'not everything could be fetched', async (signal) => {
    const ask = async (need: CollateralNeed): Promise<Outcome> => {
      observer.started?.(need);
      const outcome = await obtain(source, need, signal, now);
      observer.finished?.(outcome);
      return outcome;
    };
    const first = await askByVendor(wanted, ask);
    const signers = ocsp ? signerNeeds(first, wanted) : [];
    return [...first, ...(await askByVendor(signers, ask))];
  });
}

async function askByVendor(
  needs: readonly CollateralNeed[],
  ask: (need: CollateralNeed) => Promise<Outcome>,
): Promise<readonly Outcome[]> {
  const outcomes = new Map<CollateralNeed, Outcome>();
  const askInTurn = async (vendor: string): Promise<void> => {
    for (const need of needs.filter((candidate) => vendorOf(candidate) === vendor)) {
      outcomes.set(need, await ask(need));
    }
  };
  await Promise.all([...new Set(needs.map(vendorOf))].map(askInTurn));
  return needs.flatMap((need) => outcomes.get(need) ?? []);
}

/**
 * Statuses of the signers of the manifests that came. A mirror that signs each of them by someone else makes us ask no
 * more than the limit; the verifier misses the rest.
 */
function signerNeeds(
  outcomes: readonly Outcome[],
  asked: readonly CollateralNeed[],
): readonly CollateralNeed[] {
  const manifests = outcomes.flatMap((outcome) =>
    outcome.need.kind === 'rim' && 'obtained' in outcome ? [outcome.obtained.item.body] : [],
  );
  const known = new Set(asked.map(needKey));
  return distinctNeeds(manifests.flatMap((xml) => manifestStatusNeeds(xml).needs))
    .filter((need) => !known.has(needKey(need)))
    .slice(0, MAX_NEEDS);
}

async function obtain(
  source: CollateralSource,
  need: CollateralNeed,
  signal: AbortSignal,
  now: () => number,
): Promise<Outcome> {
  try {
    const obtained = await source.obtain(need, signal);
    return { need, obtained: withStaleness(obtained, now()) };
  } catch (error) {
    if (error instanceof CollateralError) return { need, error };
    throw error;
  }
}

/** Without a cache nobody has said it yet. */
function withStaleness(obtained: Obtained, now: number): Obtained {
  if (obtained.remarks.some(({ code }) => code === 'stale')) return obtained;
  const stale = staleness(obtained.item, now);
  return stale ? { ...obtained, remarks: [...obtained.remarks, stale] } : obtained;
}

/**
 * All of it as a value for the verifier, or the first error. What is stale is in it all the same: `gatherCollateral`
 * and the observer say so, and the verifier judges it for the time that it is given.
 */
export async function fetchCollateral(
  needs: readonly CollateralNeed[],
  options: CollateralOptions = {},
): Promise<Collateral> {
  const outcomes = await gatherCollateral(needs, options);
  return assembleCollateral(
    outcomes.map((outcome) => {
      if ('error' in outcome) throw named(outcome.need, outcome.error);
      return outcome.obtained.item;
    }),
  );
}

function named(need: CollateralNeed, error: CollateralError): CollateralError {
  const { code, message, retryAfterMs } = error;
  return new CollateralError(code, `${needName(need)}: ${message}`, { cause: error, retryAfterMs });
}
