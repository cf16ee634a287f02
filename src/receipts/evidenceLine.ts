import { setImmediate } from 'node:timers/promises';
import type { Anchoring } from './anchoring.ts';
import type { Collateral } from '../../attestation/collateral.ts';
import type { CollateralSnapshots } from './collateralSnapshots.ts';
import { Discontinuity, requireContinuity } from './continuity.ts';
import { CoverageMarks, type CoveringMark } from './coverageMarks.ts';
import { asDiscontinuity, describeEvidenceFailure } from './evidenceFailure.ts';
import {
  collectDocument,
  type CollectedDocument,
  type CollectionTimes,
  type DocumentRequest,
  type EvidenceHead,
  type EvidenceSource,
} from './evidence.ts';
import { type StopReason, VouchingError } from './errors.ts';
import type { HardwareFacts } from './hardwareFacts.ts';
import type { Issuer } from './issuer.ts';
import type { Generation, Generations } from './generations.ts';
import type { ReceiptLog } from './log.ts';
import { type NonceAnswer, type NonceBatch, NonceQueue } from './nonceQueue.ts';
import type { SignedHead } from './outsider.ts';
import { type SelfCheck, SelfCheckFailure } from './selfCheck.ts';

interface CoverageWaiter {
  readonly index: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** How things stood when a collection began. */
interface CollectionStart {
  /** Receipts so far. */
  readonly issued: number;
  readonly startedAt: number;
}

export interface EvidenceLineParts {
  readonly source: EvidenceSource;
  readonly generations: Generations;
  /** Told in the instant in which receipts change to the keys of the next generation. */
  readonly onGeneration?: (() => void) | undefined;
  readonly issuer: Issuer;
  readonly log: ReceiptLog;
  readonly snapshots: CollateralSnapshots;
  readonly anchoring: Anchoring;
  readonly onDiscontinuity?: ((discontinuity: Discontinuity) => void) | undefined;
  /** Judges each document before it is kept; without it none is judged. */
  readonly selfCheck?: Pick<SelfCheck, 'check'> | undefined;
  /** Told how long each document took. */
  readonly onTimes: (times: EvidenceTimes) => void;
  /** Statement of whoever answers for the instance; undefined where nobody gave one. */
  readonly operator: () => Uint8Array | undefined;
  /** Signs and publishes the head of the log at a size. */
  readonly publish: (size: number, root: Uint8Array) => Promise<SignedHead>;
  readonly now: () => number;
}

/** How long one document took, milliseconds. */
export interface EvidenceTimes extends CollectionTimes {
  /** Undefined where it was not judged. */
  readonly selfCheckMs: number | undefined;
}

/**
 * The instance's line of evidence documents. Collection is serial: nonces that arrive meanwhile share the next
 * document, and so do all who wait for coverage.
 */
export class EvidenceLine {
  readonly #parts: EvidenceLineParts;
  readonly #marks = new CoverageMarks();
  readonly #nonces = new NonceQueue();
  #coverage: CoverageWaiter[] = [];
  /** Callers of `collect`. */
  #tried: (() => void)[] = [];
  #head: EvidenceHead | undefined;
  #hardware: HardwareFacts | undefined;
  #discontinuity: Discontinuity | undefined;
  #selfCheck: SelfCheckFailure | undefined;
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

  /** Why nothing may be signed under this line; undefined where something may. Some of it passes with a good document. */
  get stop(): StopReason | undefined {
    if (this.#discontinuity) {
      const { code, message, advice } = this.#discontinuity;
      return { code, reason: message, advice };
    }
    if (!this.#selfCheck) return undefined;
    const { code, refusal, check, advice } = this.#selfCheck;
    return {
      code,
      reason: `${refusal}: our own verifier refuses our evidence, by ${check}`,
      advice,
      refusal,
    };
  }

  /** True where there is a document to cite. */
  get hasHead(): boolean {
    return this.#head !== undefined;
  }

  /** Whether the next document may end a stop. */
  get mayRecover(): boolean {
    return this.#discontinuity === undefined && this.#selfCheck !== undefined && !this.#selfCheck.lasts;
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
    if (this.#finishing) throw stopping();
    const answer = this.#nonces.add(nonce);
    this.#want();
    return answer;
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

  /** Resolves when a document was tried that began after the call; callers meanwhile share the next. */
  async collect(): Promise<void> {
    if (this.#finishing) {
      await this.#running;
      return;
    }
    await new Promise<void>((resolve) => {
      this.#tried.push(resolve);
      this.#want();
    });
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
      await this.#nonces.letAskersIn();
      this.#wanted = false;
      const began = performance.now();
      await this.#collectOnce(false);
      this.#nonces.beginPause(performance.now() - began);
    }
  }

  async #collectOnce(final: boolean): Promise<void> {
    const batch = this.#nonces.take();
    const tried = this.#tried.splice(0);
    const issued = this.#issued;
    const startedAt = this.#parts.now();
    try {
      const generation = this.#parts.generations.next;
      const { head, nonceTree, hardware } = await this.#collect(batch, final, generation);
      const newlyCovered = issued - this.#covered;
      this.#hardware = hardware;
      this.#adopt(head, generation, { issued, startedAt });
      batch.answer(head, nonceTree);
      if (newlyCovered > 0 && !final) await this.#recordEpoch(head);
    } catch (error) {
      this.#fail(batch, error);
    }
    for (const resolve of tried) resolve();
  }

  async #collect(
    { nonces }: NonceBatch,
    final: boolean,
    { keys, keysetDigest }: Generation,
  ): Promise<CollectedDocument> {
    if (this.#discontinuity) throw this.#discontinuity;
    if (this.#selfCheck?.lasts) throw this.#selfCheck;
    const { log, publish, snapshots, anchoring } = this.#parts;
    const size = log.durableSize;
    const root = await log.root(size);
    const collected = await this.#ask({
      keyset: keys.keyset,
      keysetDigest,
      seq: this.#head ? this.#head.seq + 1 : 0,
      final,
      nonces,
      log: { size, root },
      previous: this.#head?.digest,
      timeAnchor: anchoring.timeAnchor,
      operator: this.#parts.operator(),
    });
    if (this.#hardware) requireContinuity(this.#hardware, collected.hardware);
    const snapshot = await snapshots.take();
    await this.#judge(collected, nonces[0], snapshot.collateral);
    await snapshots.keep(collected.head.seq, snapshot);
    await publish(size, root);
    // Last: a log takes each document once, and one that it has taken is the head.
    await log.writeEvidence(collected.head.seq, collected.head.encoded);
    return collected;
  }

  async #ask(request: DocumentRequest): Promise<CollectedDocument> {
    try {
      return await collectDocument(this.#parts.source, request);
    } catch (error) {
      throw this.#head ? asDiscontinuity(error) : error;
    }
  }

  /** Nothing is kept or cited that our own verifier refuses. */
  async #judge(
    { head, nonceTree, times }: CollectedDocument,
    nonce: Uint8Array | undefined,
    collateral: Collateral,
  ): Promise<void> {
    const { selfCheck, onTimes } = this.#parts;
    const began = performance.now();
    const proof = nonce && { nonce, index: 0, path: nonceTree.inclusionPath(0) };
    await selfCheck?.check({ encoded: head.encoded, nonce: proof, collateral });
    onTimes({ ...times, selfCheckMs: selfCheck && performance.now() - began });
  }

  /** Head and keys change in one synchronous step. */
  #adopt(head: EvidenceHead, generation: Generation, { issued, startedAt }: CollectionStart): void {
    const { generations, log, onGeneration } = this.#parts;
    this.#head = head;
    if (generations.enter(generation, log.size)) onGeneration?.();
    this.#collectedAt = startedAt;
    this.#failure = undefined;
    this.#selfCheck = undefined;
    this.#covered = issued;
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

  #fail(batch: NonceBatch, error: unknown): void {
    if (error instanceof Discontinuity && !this.#discontinuity) {
      this.#discontinuity = error;
      this.#parts.onDiscontinuity?.(error);
    }
    if (error instanceof SelfCheckFailure) this.#selfCheck = error;
    this.#failure = error instanceof Error ? error : new Error(String(error));
    const refused = new VouchingError('EVIDENCE_UNAVAILABLE', whyNone(this.#failure), { cause: error });
    batch.refuse(refused);
    for (const { reject } of this.#coverage.splice(0)) reject(refused);
  }
}

function whyNone(failure: Error): string {
  const { code } = describeEvidenceFailure(failure);
  const why = failure instanceof SelfCheckFailure ? `${code}: ${failure.refusal}` : code;
  return `no evidence could be made: ${why}`;
}

function stopping(): VouchingError {
  return new VouchingError('ISSUING_STOPPED', 'the instance is stopping');
}
