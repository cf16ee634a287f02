import { concat, equalBytes } from '../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL, mergeCollateral, type Collateral } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { CpuEvidence, DeviceEvidence } from '../../attestation/evidence/evidence.ts';
import { assembleCollateral } from './assemble.ts';
import { CollateralError, type CollateralErrorCode } from './errors.ts';
import { deviceSetNeeds, documentNeeds, joinNeeds, type EvidenceNeeds } from './evidenceNeeds.ts';
import { gatherCollateral, MAX_NEEDS, openSource, type CollateralOptions, type Outcome } from './gather.ts';
import { afterOutcome, endOf, isDue, sameStatement, type Kept } from './keptStatement.ts';
import { distinctNeeds, needKey, needName, type CollateralNeed } from './need.ts';
import { manifestStatusNeeds } from './statusNeeds.ts';

/** Evidence is looked at after this long at the latest, however long nothing is due. */
const LONGEST_SLEEP_MS = 3_600_000;
/** However much is due: a vendor is not asked in a circle. */
const SHORTEST_SLEEP_MS = 1000;
const BOOT_WAIT_MS = 15_000;

export interface KeeperOptions extends Omit<
  CollateralOptions,
  'offline' | 'refresh' | 'observer' | 'signal' | 'now'
> {
  readonly now: () => number;
  /** How long the first question for collateral waits for the first answers; nothing waits later. 15 s by default. */
  readonly bootWaitMs?: number | undefined;
  /** In [0, 1); spreads the questions of many machines. */
  readonly random?: (() => number) | undefined;
  /** Told when a statement ceases to be renewed, and when it is renewed again. */
  readonly onEvent?: ((event: KeeperEvent) => void) | undefined;
  /** Told when `gathered` has become another value. */
  readonly onChange?: (() => void) | undefined;
}

export interface KeeperEvent {
  readonly kind: 'failing' | 'recovered';
  readonly name: string;
  readonly code: CollateralErrorCode | 'OK';
  readonly reason: string;
  /** Age of what is used instead; undefined where there is nothing. */
  readonly ageMs: number | undefined;
}

/** One statement as operators see it. Times are milliseconds since 1970. */
export interface StatementStatus {
  readonly kind: CollateralNeed['kind'];
  readonly name: string;
  /** Undefined while there is none. */
  readonly fetchedAt: number | undefined;
  readonly ageMs: number | undefined;
  /** Its own end; undefined where it states none. */
  readonly expires: number | undefined;
  readonly failing:
    { readonly code: CollateralErrorCode; readonly advice: string; readonly since: number } | undefined;
}

export interface KeeperStatus {
  readonly statements: readonly StatementStatus[];
  /** What no vendor is asked for, and why. */
  readonly gaps: readonly string[];
}

/** What evidence is judged by: its CPU part and its devices. */
export interface ObservedEvidence {
  readonly cpu: CpuEvidence;
  readonly devices: readonly DeviceEvidence[];
}

/**
 * Keeps what vendors say about this machine's evidence current, in the background: nothing waits for a vendor but the
 * first question after a start, for a bounded time. A statement that cannot be renewed is used on, with its age shown:
 * whether it is too old is for the policy of a verifier to say.
 */
export class CollateralKeeper {
  readonly #options: KeeperOptions;
  readonly #random: () => number;
  readonly #end = new AbortController();
  readonly #kept = new Map<string, Kept>();
  #needs: EvidenceNeeds = { needs: [], gaps: [] };
  #gathered: Collateral = NO_COLLATERAL;
  #merged: { readonly own: Collateral; readonly from: Collateral; readonly both: Collateral } | undefined;
  /** By the digest over their leaves. */
  #devices: { readonly digest: Uint8Array; readonly needs: EvidenceNeeds } | undefined;
  /** By manifest: reading one takes time. */
  readonly #signers = new WeakMap<Uint8Array, readonly CollateralNeed[]>();
  #changed = false;
  #boot: Boot | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  /** Throws `TypeError` for addresses and folders that cannot be used. */
  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    openSource(options);
  }

  /** What was gathered: the same object while nothing in it changed. */
  get gathered(): Collateral {
    return this.#gathered;
  }

  /** Has what this evidence wants gathered. Never throws, and never waits. */
  observe(evidence: ObservedEvidence): void {
    if (this.#end.signal.aborted) return;
    this.#needs = this.#needsOf(evidence);
    this.#forget();
    this.#boot ??= openBoot(this.#options.bootWaitMs ?? BOOT_WAIT_MS);
    this.#wake();
  }

  /** Both, merged: what the hardware handed out goes first. The same object while neither changed. */
  async with(own: Collateral): Promise<Collateral> {
    await this.#boot?.done;
    this.#publish();
    const from = this.#gathered;
    if (this.#merged?.own !== own || this.#merged.from !== from) {
      this.#merged = { own, from, both: from === NO_COLLATERAL ? own : mergeCollateral(own, from) };
    }
    return this.#merged.both;
  }

  status(): KeeperStatus {
    const now = this.#options.now();
    const statements = this.#wanted().map((need) => describe(need, this.#kept.get(needKey(need)), now));
    return { statements, gaps: this.#needs.gaps };
  }

  /** Ends what is under way. What was gathered stays. */
  async stop(): Promise<void> {
    this.#end.abort(new CollateralError('timeout', 'the service is stopping'));
    clearTimeout(this.#timer);
    this.#boot?.end();
    await this.#running;
  }

  /** Evidence that cannot be read wants nothing: what was wanted before is still kept. */
  #needsOf({ cpu, devices }: ObservedEvidence): EvidenceNeeds {
    try {
      const found = joinNeeds([
        documentNeeds({ cpu, devices: [] }, nodeCrypto),
        this.#needsOfDevices(devices),
      ]);
      return { needs: found.needs.slice(0, MAX_NEEDS), gaps: found.gaps };
    } catch (error) {
      if (error instanceof Refusal) return this.#needs;
      throw error;
    }
  }

  /** Devices are the same for an instance, and reading all their chains again takes time. */
  #needsOfDevices(devices: readonly DeviceEvidence[]): EvidenceNeeds {
    const leaves = devices.map(({ certificates: [leaf] }) => leaf ?? new Uint8Array(0));
    const digest = nodeCrypto.hash('sha256', concat(...leaves));
    if (this.#devices && equalBytes(this.#devices.digest, digest)) return this.#devices.needs;
    const needs = deviceSetNeeds(devices, nodeCrypto, { ocsp: this.#options.ocsp });
    this.#devices = { digest, needs };
    return needs;
  }

  /** The needs of the evidence, and the statuses of the signers of the manifests that came. */
  #wanted(): readonly CollateralNeed[] {
    const { ocsp = true } = this.#options;
    const manifests = this.#needs.needs.flatMap((need) => {
      const body = need.kind === 'rim' ? this.#kept.get(needKey(need))?.obtained?.item.body : undefined;
      return ocsp && body ? [body] : [];
    });
    const signers = manifests.flatMap((xml) => this.#signersOf(xml));
    return distinctNeeds([...this.#needs.needs, ...signers]).slice(0, MAX_NEEDS);
  }

  #signersOf(xml: Uint8Array): readonly CollateralNeed[] {
    const known = this.#signers.get(xml) ?? manifestStatusNeeds(xml).needs;
    this.#signers.set(xml, known);
    return known;
  }

  /** What no evidence wants any more is given up: as the VCEK of firmware that was replaced. */
  #forget(): void {
    const wanted = new Set(this.#wanted().map(needKey));
    for (const [key, { obtained }] of this.#kept) {
      if (wanted.has(key)) continue;
      this.#kept.delete(key);
      this.#changed ||= obtained !== undefined;
    }
  }

  /** Sees to what is due now, or sets the clock for what is due next. */
  #wake(): void {
    if (this.#end.signal.aborted || this.#running) return;
    const now = this.#options.now();
    if (!this.#wanted().some((need) => this.#isDue(need, now))) {
      this.#publish();
      this.#boot?.end();
      this.#sleep();
      return;
    }
    clearTimeout(this.#timer);
    this.#running = this.#refresh().finally(() => {
      this.#running = undefined;
      this.#publish();
      this.#boot?.end();
      this.#sleep();
    });
  }

  #isDue(need: CollateralNeed, now: number): boolean {
    const statement = this.#kept.get(needKey(need));
    return !statement || isDue(statement, now);
  }

  #sleep(): void {
    clearTimeout(this.#timer);
    if (this.#end.signal.aborted) return;
    const now = this.#options.now();
    const due = this.#wanted().map((need) => this.#kept.get(needKey(need))?.dueAt ?? now);
    const wait = Math.min(...due.map((time) => time - now), LONGEST_SLEEP_MS);
    this.#timer = setTimeout(
      () => {
        this.#wake();
      },
      Math.max(wait, SHORTEST_SLEEP_MS),
    ).unref();
  }

  /** What was never asked for may come from the cache; what is due is asked of its vendor, and else from the cache. */
  async #refresh(): Promise<void> {
    const now = this.#options.now();
    const due = this.#wanted().filter((need) => this.#isDue(need, now));
    const isKnown = (need: CollateralNeed) => this.#kept.has(needKey(need));
    const [known, fresh] = [due.filter(isKnown), due.filter((need) => !isKnown(need))];
    await this.#gather(fresh, false);
    await this.#gather(known, true);
  }

  /** Takes each answer when it comes: a slow vendor holds up no other. */
  async #gather(needs: readonly CollateralNeed[], refresh: boolean): Promise<void> {
    if (needs.length === 0 || this.#end.signal.aborted) return;
    const waiting = new Map(needs.map((need) => [needKey(need), need]));
    const finished = (outcome: Outcome): void => {
      waiting.delete(needKey(outcome.need));
      this.#take(outcome);
    };
    try {
      const { signal } = this.#end;
      await gatherCollateral(needs, { ...this.#options, refresh, signal, observer: { finished } });
    } catch (error) {
      // A failure that nobody foresaw is one of each statement: it is shown, and asked again later.
      const known = error instanceof CollateralError ? error : undefined;
      const failed = known ?? new CollateralError('status', 'nothing could be asked', { cause: error });
      for (const need of waiting.values()) this.#take({ need, error: failed });
    }
  }

  #take(outcome: Outcome): void {
    // An end of our own says nothing about a vendor.
    if (this.#end.signal.aborted) return;
    const key = needKey(outcome.need);
    const before = this.#kept.get(key);
    const now = this.#options.now();
    const after = afterOutcome(before, outcome, now, this.#random);
    this.#kept.set(key, after);
    this.#changed ||= !sameStatement(before?.obtained, after.obtained);
    this.#tell(before, after, now);
  }

  /** A statement that was renewed and says the same changes nothing for who relies on the object. */
  #publish(): void {
    if (!this.#changed) return;
    this.#changed = false;
    const items = this.#wanted().flatMap((need) => this.#kept.get(needKey(need))?.obtained?.item ?? []);
    this.#gathered = assembleCollateral(items);
    this.#options.onChange?.();
  }

  #tell({ failing: before }: Partial<Kept> = {}, { need, obtained, failing }: Kept, now: number): void {
    if (before?.error.code === failing?.error.code) return;
    const ageMs = obtained && now - obtained.fetchedAt;
    const name = needName(need);
    this.#options.onEvent?.(
      failing
        ? { kind: 'failing', name, code: failing.error.code, reason: failing.error.message, ageMs }
        : { kind: 'recovered', name, code: 'OK', reason: 'it is renewed again', ageMs },
    );
  }
}

/** The time in which the first question waits for the first answers. */
interface Boot {
  readonly done: Promise<void>;
  readonly end: () => void;
}

function openBoot(milliseconds: number): Boot {
  let end: () => void = () => undefined;
  const done = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, milliseconds).unref();
    end = () => {
      clearTimeout(timer);
      resolve();
    };
  });
  return { done, end };
}

function describe(need: CollateralNeed, kept: Kept | undefined, now: number): StatementStatus {
  const { obtained, failing } = kept ?? {};
  return {
    kind: need.kind,
    name: needName(need),
    fetchedAt: obtained?.fetchedAt,
    ageMs: obtained && now - obtained.fetchedAt,
    expires: endOf(obtained),
    failing: failing && {
      code: failing.error.code,
      advice: failing.error.advice,
      since: failing.since,
    },
  };
}
