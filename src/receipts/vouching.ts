import type { Collateral } from '../../attestation/collateral.ts';
import type { Predecessor } from '../../attestation/receipt/record.ts';
import { Anchoring } from './anchoring.ts';
import { Bundles } from './bundles.ts';
import { CollateralSnapshots } from './collateralSnapshots.ts';
import type { Discontinuity } from './continuity.ts';
import type { IssuedReceipt, ReceiptDraft } from './draft.ts';
import { type StopReason, VouchingError } from './errors.ts';
import type { EvidenceHead, EvidenceSource } from './evidence.ts';
import { EvidenceLine, type NonceAnswer } from './evidenceLine.ts';
import { HeadSigner } from './headSigner.ts';
import { type ActBody, Issuer } from './issuer.ts';
import { InclusionIssuer } from './inclusion.ts';
import type { InstanceKeys } from './keys.ts';
import type { ReceiptLog } from './log.ts';
import { ReceiptIndex, type ReceiptPlace } from './receiptIndex.ts';

export interface EpochLimits {
  /** An epoch ends after this many milliseconds while a receipt is uncovered. */
  readonly periodMs: number;
  /** An epoch ends when this many receipts are uncovered. */
  readonly receipts: number;
  /** Nothing is issued under evidence that is older than this, milliseconds. It is renewed from half of that on. */
  readonly maxEvidenceAgeMs: number;
}

export interface VouchingParts {
  readonly keys: InstanceKeys;
  readonly log: ReceiptLog;
  readonly source: EvidenceSource;
  readonly configDigest: Uint8Array;
  readonly predecessor: Predecessor | undefined;
  readonly limits: EpochLimits;
  /** Who confirms heads of the log; nobody where it is left out. */
  readonly anchoring?: Anchoring | undefined;
  /** Told once, where the hardware is not what it was. */
  readonly onDiscontinuity?: ((discontinuity: Discontinuity) => void) | undefined;
  readonly now: () => number;
}

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
  readonly #heads: HeadSigner;
  /** Who confirms heads of the log, and when they did. */
  readonly anchoring: Anchoring;
  readonly #places = new ReceiptIndex();
  readonly #timers: readonly NodeJS.Timeout[];
  #operator: Uint8Array | undefined;
  #issuing = 0;
  #idle: (() => void) | undefined;
  #onIssuing: ((draft: Pick<ReceiptDraft, 'id' | 'tenant'>) => void) | undefined;
  #stopped = false;

  private constructor(parts: VouchingParts) {
    this.#parts = parts;
    const { keys, log, source, now, limits, configDigest } = parts;
    const heads = new HeadSigner(keys);
    this.#heads = heads;
    const snapshots = new CollateralSnapshots(source, log);
    this.anchoring = parts.anchoring ?? new Anchoring({ outsiders: [], log, now });
    const { anchoring } = this;
    this.inclusion = new InclusionIssuer(keys, log);
    this.#issuer = new Issuer({ keys, log, configDigest, head: () => this.#line.head });
    this.#line = new EvidenceLine({
      source,
      keys,
      issuer: this.#issuer,
      log,
      snapshots,
      anchoring,
      onDiscontinuity: parts.onDiscontinuity,
      operator: () => this.#operator,
      publish: async (size, root) => {
        const head = heads.sign(size, root);
        await log.publish(head.note, size);
        return head;
      },
      now,
    });
    this.#bundles = new Bundles({ log, line: this.#line, heads, snapshots, anchoring });
    this.#timers = [
      setInterval(() => void this.#line.endEpoch(), limits.periodMs),
      setInterval(() => void this.#renewEvidence(), limits.maxEvidenceAgeMs / 4),
    ];
    for (const timer of this.#timers) timer.unref();
  }

  /** Opens the log with its `open` record and collects the first evidence document. */
  static async start(parts: VouchingParts): Promise<Vouching> {
    const vouching = new Vouching(parts);
    try {
      await vouching.#issuer.record({ kind: 'open', predecessor: parts.predecessor }, parts.now());
      await vouching.#line.collect();
      const { failure } = vouching.#line;
      if (failure) throw failure;
    } catch (error) {
      vouching.#clearTimers();
      throw error;
    }
    return vouching;
  }

  get head(): EvidenceHead {
    return this.#line.head;
  }

  /** When the head was collected, milliseconds since 1970. */
  get collectedAt(): number {
    return this.#line.collectedAt;
  }

  get keysetDigest(): Uint8Array {
    return this.#issuer.keysetDigest;
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
    const { keys, now } = this.#parts;
    if (this.#stopped) return { code: 'STOPPING', reason: 'the instance is stopping' };
    const { discontinuity } = this.#line;
    if (discontinuity) return { code: discontinuity.code, reason: discontinuity.message };
    if (now() > keys.keyset.notAfter * 1000) {
      return { code: 'KEYSET_EXPIRED', reason: 'the keyset is at its end' };
    }
    if (!this.#isOlderThan(1)) return undefined;
    const why = this.#line.failure ? 'cannot be renewed' : 'is being renewed';
    return { code: 'EVIDENCE_TOO_OLD', reason: `the evidence is too old and ${why}` };
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

  #isOlderThan(part: number): boolean {
    return this.#parts.now() - this.#line.collectedAt > part * this.#parts.limits.maxEvidenceAgeMs;
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearInterval(timer);
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
