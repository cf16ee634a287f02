import type { Collateral } from '../../attestation/collateral.ts';
import type { Keyset } from '../../attestation/keyset.ts';
import type { Predecessor } from '../../attestation/receipt/record.ts';
import { Anchoring } from './anchoring.ts';
import { Bundles } from './bundles.ts';
import { CollateralSnapshots } from './collateralSnapshots.ts';
import type { Discontinuity } from './continuity.ts';
import type { IssuedReceipt, ReceiptDraft } from './draft.ts';
import { type StopReason, VouchingError } from './errors.ts';
import type { EvidenceHead, EvidenceSource } from './evidence.ts';
import { describeEvidenceFailure } from './evidenceFailure.ts';
import { EvidenceLine, type EvidenceTimes } from './evidenceLine.ts';
import { HeadSigner } from './headSigner.ts';
import { type ActBody, Issuer } from './issuer.ts';
import { InclusionIssuer } from './inclusion.ts';
import { Generations } from './generations.ts';
import type { InstanceKeys, KeySource } from './keys.ts';
import type { ReceiptLog } from './log.ts';
import type { NonceAnswer } from './nonceQueue.ts';
import { ReceiptIndex, type ReceiptPlace } from './receiptIndex.ts';
import type { SelfCheck } from './selfCheck.ts';
import { KeyRotation } from './rotation.ts';

export interface EpochLimits {
  /** An epoch ends after this many milliseconds while a receipt is uncovered. */
  readonly periodMs: number;
  /** An epoch ends when this many receipts are uncovered. */
  readonly receipts: number;
  /** Nothing is issued under evidence that is older than this, milliseconds. It is renewed from half of that on. */
  readonly maxEvidenceAgeMs: number;
}

export interface VouchingParts {
  /** Keys of generation 0. */
  readonly keys: InstanceKeys;
  /** Who makes those of further ones; nobody where it is left out. */
  readonly keySource?: KeySource | undefined;
  readonly log: ReceiptLog;
  readonly source: EvidenceSource;
  readonly configDigest: Uint8Array;
  readonly predecessor: Predecessor | undefined;
  readonly limits: EpochLimits;
  /** Who confirms heads of the log; nobody where it is left out. */
  readonly anchoring?: Anchoring | undefined;
  /** Judges each evidence document before it is kept; without it none is judged. */
  readonly selfCheck?: SelfCheck | undefined;
  /** Told once, where the hardware is not what it was. */
  readonly onDiscontinuity?: ((discontinuity: Discontinuity) => void) | undefined;
  readonly now: () => number;
}

/** A clock that is set back by less is being adjusted. */
const CLOCK_STEP_MS = 2000;
/** Evidence that failed is tried again after this long at the latest. */
const RETRY_MS = 60_000;
/** How long a clean stop waits for the last anchor. */
const LAST_ANCHOR_MS = 10_000;

/** Everything by which this instance vouches: evidence, receipts, log. One per process. */
export class Vouching {
  /** COSE Receipts of the log. */
  readonly inclusion: InclusionIssuer;
  readonly #parts: VouchingParts;
  readonly #issuer: Issuer;
  readonly #line: EvidenceLine;
  readonly #bundles: Bundles;
  readonly #generations: Generations;
  readonly #rotation: KeyRotation;
  readonly #heads: HeadSigner;
  /** Who confirms heads of the log, and when they did. */
  readonly anchoring: Anchoring;
  readonly #places = new ReceiptIndex();
  readonly #timers: readonly NodeJS.Timeout[];
  #operator: Uint8Array | undefined;
  #issuing = 0;
  #idle: (() => void) | undefined;
  #onIssuing: ((draft: Pick<ReceiptDraft, 'id' | 'tenant'>) => void) | undefined;
  #onTimes: ((times: EvidenceTimes) => void) | undefined;
  #times: EvidenceTimes | undefined;
  #stopped = false;

  private constructor(parts: VouchingParts) {
    this.#parts = parts;
    const { keys, keySource, log, source, now, limits, configDigest } = parts;
    const generations = new Generations(keys);
    this.#generations = generations;
    const heads = new HeadSigner(keys);
    this.#heads = heads;
    const snapshots = new CollateralSnapshots(source, log);
    this.anchoring = parts.anchoring ?? new Anchoring({ outsiders: [], log, now });
    const { anchoring } = this;
    this.inclusion = new InclusionIssuer(keys, log, (index) => generations.inclusionKeys(index));
    const generation = () => generations.current;
    this.#issuer = new Issuer({ generation, log, configDigest, head: () => this.#line.head });
    this.#line = new EvidenceLine({
      source,
      generations,
      onGeneration: () => keySource?.enter(),
      issuer: this.#issuer,
      log,
      snapshots,
      anchoring,
      onDiscontinuity: parts.onDiscontinuity,
      selfCheck: parts.selfCheck,
      onTimes: (times) => {
        this.#times = times;
        this.#onTimes?.(times);
      },
      operator: () => this.#operator,
      publish: async (size, root) => {
        const head = heads.sign(size, root);
        await log.publish(head.note, size);
        return head;
      },
      now,
    });
    this.#bundles = new Bundles({ log, line: this.#line, heads, snapshots, anchoring });
    this.#rotation = new KeyRotation({ source: keySource, generations, line: this.#line, now });
    this.#timers = [
      setInterval(() => void this.#line.endEpoch(), limits.periodMs),
      setInterval(() => void this.#renewEvidence(), limits.maxEvidenceAgeMs / 4),
      setInterval(() => void this.#retryEvidence(), RETRY_MS),
    ];
    for (const timer of this.#timers) timer.unref();
  }

  /**
   * Opens the log with its `open` record and collects the first evidence document. Where that one fails for something
   * that may pass, such as collateral that no vendor gives, the instance is started and stopped at once, until a
   * document is good: a service that ended would be started again and again.
   */
  static async start(parts: VouchingParts): Promise<Vouching> {
    const vouching = new Vouching(parts);
    try {
      await vouching.#issuer.record({ kind: 'open', predecessor: parts.predecessor }, parts.now());
      await vouching.#line.collect();
      const { failure, mayRecover } = vouching.#line;
      if (failure && !mayRecover) throw failure;
    } catch (error) {
      vouching.#clearTimers();
      throw error;
    }
    return vouching;
  }

  /** Throws `EVIDENCE_UNAVAILABLE` where no document was good yet. */
  get head(): EvidenceHead {
    return this.#line.head;
  }

  /** False where no document was good yet. */
  get hasHead(): boolean {
    return this.#line.hasHead;
  }

  /** When the head was collected, milliseconds since 1970. */
  get collectedAt(): number {
    return this.#line.collectedAt;
  }

  get keysetDigest(): Uint8Array {
    return this.#generations.current.keysetDigest;
  }

  /** The keyset in use. */
  get keyset(): Keyset {
    return this.#generations.current.keys.keyset;
  }

  /** Keysets of all generations of this instance, the newest first. */
  get keysets(): readonly Keyset[] {
    return this.#generations.keysets;
  }

  /** Has new keys follow the current ones; resolves with the first evidence that vouches for them. */
  rotateKeys(): Promise<EvidenceHead> {
    if (this.#stopped) throw new VouchingError('ISSUING_STOPPED', 'STOPPING: the instance is stopping');
    return this.#rotation.rotate();
  }

  get log(): ReceiptLog {
    return this.#parts.log;
  }

  /** Receipts that no document covers yet. */
  get uncovered(): number {
    return this.#line.uncovered;
  }

  /** Why nothing is signed now; undefined while it is. */
  get stopReason(): StopReason | undefined {
    const { now } = this.#parts;
    if (this.#stopped) return { code: 'STOPPING', reason: 'the instance is stopping' };
    const { stop, failure } = this.#line;
    if (stop) return stop;
    if (now() > this.#generations.current.keys.keyset.notAfter * 1000) {
      return { code: 'KEYSET_EXPIRED', reason: 'the keyset is at its end' };
    }
    if (!this.#isOlderThan(1)) return undefined;
    if (!failure) return { code: 'EVIDENCE_TOO_OLD', reason: 'the evidence is too old and is being renewed' };
    const { code, advice } = describeEvidenceFailure(failure);
    const reason = `the evidence is too old and cannot be renewed: ${code}`;
    return { code: 'EVIDENCE_TOO_OLD', reason, ...(advice !== undefined && { advice }) };
  }

  /** Why the last collection of evidence failed; undefined after a good one. */
  get evidenceFailure(): Error | undefined {
    return this.#line.failure;
  }

  collateral(): Promise<Collateral> {
    return this.#parts.source.collateral();
  }

  /** Evidence made for an asker's nonce. */
  attest(nonce: Uint8Array): Promise<NonceAnswer> {
    return this.#line.answer(nonce);
  }

  /** Throws `ISSUING_STOPPED` where no receipt could be issued: call before the work is done. */
  requireIssuing(): void {
    const stop = this.stopReason;
    if (!stop) return;
    if (stop.code === 'EVIDENCE_TOO_OLD') this.renewStale();
    throw new VouchingError('ISSUING_STOPPED', `${stop.code}: ${stop.reason}`);
  }

  /**
   * Has evidence renewed that is too old to issue under, as after a pause of the VM. What failed is tried again by the
   * timers, not by each request.
   */
  renewStale(): void {
    if (this.#isOlderThan(1) && !this.#line.failure && !this.#line.isCollecting) void this.#line.collect();
  }

  /** Has a document made where the last one failed for want of collateral, or for the clock: now it may be good. */
  reconsider(): void {
    if (this.#line.mayRecover && !this.#stopped) void this.#line.collect();
  }

  /** How long the newest document took; undefined while none was good. */
  get evidenceTimes(): EvidenceTimes | undefined {
    return this.#times;
  }

  /** Tells how long each document takes that is good, the newest so far first. */
  watchEvidence(onTimes: (times: EvidenceTimes) => void): void {
    this.#onTimes = onTimes;
    if (this.#times) onTimes(this.#times);
  }

  /** Tells of each receipt, whichever process drafted it, before its entry is in the log. */
  watchIssuing(onIssuing: (draft: Pick<ReceiptDraft, 'id' | 'tenant'>) => void): void {
    this.#onIssuing = onIssuing;
  }

  /** Issues a receipt; resolves when it is durable. */
  async issue(draft: ReceiptDraft): Promise<IssuedReceipt> {
    this.requireIssuing();
    this.#issuing++;
    try {
      this.#onIssuing?.(draft);
      const issued = await this.#issuer.issue(draft, this.#parts.now());
      const { id, index, cited } = issued;
      this.#places.add(id, { index, cited, tenant: draft.tenant });
      this.#line.countReceipt();
      if (this.#line.uncovered >= this.#parts.limits.receipts) void this.#line.endEpoch();
      return issued;
    } finally {
      this.#issuing--;
      if (this.#issuing === 0) this.#idle?.();
    }
  }

  /** Logs an act; resolves with its index when it is durable. What it permits is done after that. */
  async recordAct(body: Omit<ActBody, 'kind'>): Promise<number> {
    this.requireIssuing();
    return this.#issuer.record({ kind: 'act', ...body }, this.#parts.now());
  }

  /**
   * Has the evidence carry a verified statement of whoever answers for the instance; resolves with the first document
   * that does. Throws `EVIDENCE_UNAVAILABLE` where none could be made: the next one carries it.
   */
  async setOperatorStatement(statement: Uint8Array): Promise<EvidenceHead> {
    this.requireIssuing();
    this.#operator = statement;
    await this.#line.collect();
    const { failure, head } = this.#line;
    if (failure)
      throw new VouchingError('EVIDENCE_UNAVAILABLE', 'no evidence could be made', { cause: failure });
    return head;
  }

  /** Logs a foreign statement and, before it, the record that announces it; resolves when both are durable. */
  async register(statement: Uint8Array, announcement: Omit<ActBody, 'kind'>): Promise<number> {
    this.requireIssuing();
    return this.#issuer.register(statement, { kind: 'act', ...announcement }, this.#parts.now());
  }

  /** A signed checkpoint of a size that the log has had: of one tree there is one, however often it is signed. */
  async checkpointAt(size: number): Promise<Uint8Array> {
    return this.#heads.sign(size, await this.#parts.log.root(size)).note;
  }

  /** Resolves when a document covers the log entry. */
  covered(index: number): Promise<void> {
    return this.#line.covered(index);
  }

  /** Log index of a receipt, for the tenant that made the request. */
  indexOf(id: string, tenant: string | undefined): number {
    return this.#place(id, tenant).index;
  }

  /** A receipt by id, for the tenant that made the request. */
  async receipt(id: string, tenant: string | undefined): Promise<Uint8Array> {
    return this.#parts.log.entry(this.indexOf(id, tenant));
  }

  /** Waits until the receipt is covered. */
  async receiptCovered(id: string, tenant: string | undefined): Promise<void> {
    await this.#line.covered(this.#place(id, tenant).index);
  }

  /** A receipt with everything that a verifier needs. */
  async bundle(id: string, tenant: string | undefined): Promise<Uint8Array> {
    return this.#bundles.make(this.#place(id, tenant));
  }

  /**
   * Makes the `final` document, has the last head anchored within a bounded time, and closes the log. Receipts in
   * flight are finished first.
   */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#clearTimers();
    if (this.#issuing > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    await this.#line.finish();
    await this.anchoring.finish(LAST_ANCHOR_MS);
    await this.#parts.log.close();
  }

  /** Where nobody asks for anything, evidence is renewed long before it is too old to issue under. */
  async #renewEvidence(): Promise<void> {
    if (this.#isOlderThan(1 / 2) && !this.#line.isCollecting) await this.#line.collect();
  }

  async #retryEvidence(): Promise<void> {
    if (this.#line.failure && !this.#line.isCollecting) await this.#line.collect();
  }

  /** Where the clock went back, nobody knows how old the evidence is. */
  #isOlderThan(part: number): boolean {
    const { now, limits } = this.#parts;
    const age = now() - this.#line.collectedAt;
    return age > part * limits.maxEvidenceAgeMs || age < -CLOCK_STEP_MS;
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#rotation.stop();
  }

  #place(id: string, tenant: string | undefined): ReceiptPlace {
    const place = this.#places.find(Buffer.from(id, 'hex'));
    // Another tenant's receipt and an unknown one look the same.
    if (!place || place.tenant !== tenant) {
      throw new VouchingError('RECEIPT_NOT_FOUND', 'no receipt with this id was issued for this key');
    }
    return place;
  }
}
