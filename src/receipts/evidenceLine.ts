import { setImmediate } from 'node:timers/promises';
import { checkNonce, MAX_NONCES } from '../../attestation/binding.ts';
import type { Anchoring } from './anchoring.ts';
import type { CollateralSnapshots } from './collateralSnapshots.ts';
import { Discontinuity, requireContinuity } from './continuity.ts';
import { CoverageMarks, type CoveringMark } from './coverageMarks.ts';
import {
  collectDocument,
  type CollectedDocument,
  type EvidenceHead,
  type EvidenceSource,
} from './evidence.ts';
import { VouchingError } from './errors.ts';
import type { HardwareFacts } from './hardwareFacts.ts';
import type { Issuer } from './issuer.ts';
import type { InstanceKeys } from './keys.ts';
import type { ReceiptLog } from './log.ts';
import type { SignedHead } from './outsider.ts';

/** The asker's place in the nonce tree of a document. */
export interface NonceAnswer {
  readonly head: EvidenceHead;
  readonly index: number;
  readonly count: number;
  readonly path: readonly Uint8Array[];
}

interface NonceWaiter {
  readonly nonce: Uint8Array;
  readonly resolve: (answer: NonceAnswer) => void;
  readonly reject: (error: Error) => void;
}

interface CoverageWaiter {
  readonly index: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export interface EvidenceLineParts {
  readonly source: EvidenceSource;
  readonly keys: InstanceKeys;
  readonly issuer: Issuer;
  readonly log: ReceiptLog;
  readonly snapshots: CollateralSnapshots;
  readonly anchoring: Anchoring;
  readonly onDiscontinuity?: ((discontinuity: Discontinuity) => void) | undefined;
  /** Statement of whoever answers for the instance; undefined where nobody gave one. */
  readonly operator: () => Uint8Array | undefined;
  /** Signs and publishes the head of the log at a size. */
  readonly publish: (size: number, root: Uint8Array) => Promise<SignedHead>;
  readonly now: () => number;
}

/**
 * The instance's line of evidence documents. Collection is serial: nonces that arrive meanwhile share the next
 * document, and so do all who wait for coverage.
 */
export class EvidenceLine {
  readonly #parts: EvidenceLineParts;
  readonly #marks = new CoverageMarks();
  #nonces: NonceWaiter[] = [];
  #coverage: CoverageWaiter[] = [];
  #head: EvidenceHead | undefined;
  #hardware: HardwareFacts | undefined;
  #discontinuity: Discontinuity | undefined;
  #collectedAt = 0;
  #wanted = false;
  #running: Promise<void> | undefined;
  #failure: Error | undefined;
  #issued = 0;
  #covered = 0;
  #finishing = false;
  #finished = false;

  constructor(parts: EvidenceLineParts) {
    this.#parts = parts;
  }

  /** The document that receipts cite now. */
  get head(): EvidenceHead {
    if (!this.#head) throw new VouchingError('EVIDENCE_UNAVAILABLE', 'no evidence has been collected');
    return this.#head;
  }

  /** When collecting the head began, milliseconds since 1970: a host may pause the machine before its end. */
  get collectedAt(): number {
    return this.#collectedAt;
  }

  /** Why the last collection failed; undefined after a good one. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Why the hardware is not what it was: for good, nothing is collected any more. */
  get discontinuity(): Discontinuity | undefined {
    return this.#discontinuity;
  }

  get isCollecting(): boolean {
    return this.#running !== undefined;
  }

  /** Receipts that no document covers yet. */
  get uncovered(): number {
    return this.#issued - this.#covered;
  }

  countReceipt(): void {
    this.#issued++;
  }

  /** Evidence made for a nonce of an asker. */
  answer(nonce: Uint8Array): Promise<NonceAnswer> {
    checkNonce(nonce);
    if (this.#finishing) throw stopping();
    if (this.#nonces.length >= MAX_NONCES) {
      throw new VouchingError('TOO_MANY_NONCES', `${MAX_NONCES} nonces wait already`);
    }
    return new Promise((resolve, reject) => {
      this.#nonces.push({ nonce, resolve, reject });
      this.#want();
    });
  }

  /** Resolves when a document covers the log entry. */
  covered(index: number): Promise<void> {
    if (this.#head && index < this.#head.logSize) return Promise.resolve();
    if (this.#finished) return Promise.reject(stopping());
    return new Promise((resolve, reject) => {
      this.#coverage.push({ index, resolve, reject });
      this.#want();
    });
  }

  /** First document whose tree holds the entry; undefined while there is none. */
  covering(index: number): CoveringMark | undefined {
    return this.#marks.find(index);
  }

  /** Ends the epoch where a receipt is uncovered. */
  async endEpoch(): Promise<void> {
    if (this.uncovered > 0) await this.collect();
  }

  /** Collects one document; callers meanwhile share the next. */
  async collect(): Promise<void> {
    this.#want();
    while (this.#running) await this.#running;
  }

  /**
   * The last document of the instance: nothing may follow it, so that no nonce is taken from now on. No record can
   * name it. Where heads are anchored another document goes before, whose record an anchored tree holds: so every
   * receipt has a document that is known to be of its time.
   */
  async finish(): Promise<void> {
    this.#finishing = true;
    while (this.#running) await this.#running;
    if (this.#parts.anchoring.isConfigured && this.uncovered > 0) await this.#collectOnce(false);
    await this.#collectOnce(true);
    if (!this.#discontinuity) await this.#anchorHead();
    this.#finished = true;
    for (const { reject } of this.#coverage.splice(0)) reject(stopping());
  }

  #want(): void {
    // What waits meanwhile is the last document's to answer.
    if (this.#finishing) return;
    this.#wanted = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#wanted) this.#want();
    });
  }

  async #run(): Promise<void> {
    while (this.#wanted) {
      // Nonces of the same turn of the event loop share a document.
      await setImmediate();
      this.#wanted = false;
      await this.#collectOnce(false);
    }
  }

  async #collectOnce(final: boolean): Promise<void> {
    const batch = this.#nonces.splice(0, MAX_NONCES);
    const issued = this.#issued;
    const startedAt = this.#parts.now();
    try {
      const { head, nonceTree, hardware } = await this.#collect(batch, final);
      const newlyCovered = issued - this.#covered;
      this.#hardware = hardware;
      this.#adopt(head, issued, startedAt);
      for (const [index, waiter] of batch.entries()) {
        const path = nonceTree.inclusionPath(index);
        waiter.resolve({ head, index, count: batch.length, path });
      }
      if (newlyCovered > 0 && !final) await this.#recordEpoch(head);
    } catch (error) {
      this.#fail(batch, error);
    }
  }

  async #collect(batch: readonly NonceWaiter[], final: boolean): Promise<CollectedDocument> {
    if (this.#discontinuity) throw this.#discontinuity;
    const { source, keys, issuer, log, publish, snapshots, anchoring } = this.#parts;
    const size = log.durableSize;
    const root = await log.root(size);
    const collected = await collectDocument(source, {
      keyset: keys.keyset,
      keysetDigest: issuer.keysetDigest,
      seq: this.#head ? this.#head.seq + 1 : 0,
      final,
      nonces: batch.map(({ nonce }) => nonce),
      log: { size, root },
      previous: this.#head?.digest,
      timeAnchor: anchoring.timeAnchor,
      operator: this.#parts.operator(),
    });
    if (this.#hardware) requireContinuity(this.#hardware, collected.hardware);
    await snapshots.keep(collected.head.seq);
    await publish(size, root);
    // Last: a log takes each document once, and one that it has taken is the head.
    await log.writeEvidence(collected.head.seq, collected.head.encoded);
    return collected;
  }

  #adopt(head: EvidenceHead, issuedBefore: number, startedAt: number): void {
    this.#head = head;
    this.#collectedAt = startedAt;
    this.#failure = undefined;
    this.#covered = issuedBefore;
    this.#marks.add(head);
    const waiting = this.#coverage;
    this.#coverage = waiting.filter(({ index }) => index >= head.logSize);
    for (const { index, resolve } of waiting) if (index < head.logSize) resolve();
    if (this.#coverage.length > 0) this.#wanted = true;
  }

  async #recordEpoch(head: EvidenceHead): Promise<void> {
    const body = { kind: 'epoch', seq: head.seq, evidenceDigest: head.digest } as const;
    const index = await this.#parts.issuer.record(body, this.#parts.now());
    this.#marks.recordNewest(head.seq, index);
    await this.#anchorHead();
  }

  /** Publishes the head that holds everything durable, and has it confirmed outside, in the background. */
  async #anchorHead(): Promise<void> {
    const { log, publish, anchoring } = this.#parts;
    try {
      const size = log.durableSize;
      anchoring.submit(await publish(size, await log.root(size)));
    } catch {
      // The next document publishes a head as well, and fails for the same reason: then it is said.
    }
  }

  #fail(batch: readonly NonceWaiter[], error: unknown): void {
    if (error instanceof Discontinuity && !this.#discontinuity) {
      this.#discontinuity = error;
      this.#parts.onDiscontinuity?.(error);
    }
    this.#failure = error instanceof Error ? error : new Error(String(error));
    const refused = new VouchingError('EVIDENCE_UNAVAILABLE', 'evidence could not be collected', {
      cause: error,
    });
    for (const { reject } of [...batch, ...this.#coverage]) reject(refused);
    this.#coverage = [];
  }
}

function stopping(): VouchingError {
  return new VouchingError('ISSUING_STOPPED', 'the instance is stopping');
}
