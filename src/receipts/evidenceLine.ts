import { setImmediate } from 'node:timers/promises';
import { checkNonce, MAX_NONCES } from '../../attestation/binding.ts';
import { equalBytes } from '../../attestation/bytes/bytes.ts';
import {
  collectDocument,
  type CollectedDocument,
  type EvidenceHead,
  type EvidenceSource,
} from './evidence.ts';
import { VouchingError } from './errors.ts';
import type { Issuer } from './issuer.ts';
import type { InstanceKeys } from './keys.ts';
import type { ReceiptLog } from './log.ts';

const NONE = new Uint8Array(0);
/** Documents that are remembered, at least: more than the receipts that can be fetched by id need. */
const MAX_MARKS = 250_000;

/** The asker's place in the nonce tree of a document. */
export interface NonceAnswer {
  readonly head: EvidenceHead;
  readonly index: number;
  readonly count: number;
  readonly path: readonly Uint8Array[];
}

/** A published document that covers entries which none before it covers. */
export interface DocumentMark {
  readonly seq: number;
  readonly logSize: number;
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
  /** Signs and publishes the head of the log at a size. */
  readonly publish: (size: number, root: Uint8Array) => Promise<void>;
  readonly now: () => number;
}

/**
 * The instance's line of evidence documents. Collection is serial: nonces that arrive meanwhile share the next
 * document, and so do all who wait for coverage.
 */
export class EvidenceLine {
  readonly #parts: EvidenceLineParts;
  readonly #marks: DocumentMark[] = [];
  #nonces: NonceWaiter[] = [];
  #coverage: CoverageWaiter[] = [];
  #head: EvidenceHead | undefined;
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

  /** When the head was collected, milliseconds since 1970. */
  get collectedAt(): number {
    return this.#collectedAt;
  }

  /** Why the last collection failed; undefined after a good one. */
  get failure(): Error | undefined {
    return this.#failure;
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
  covering(index: number): DocumentMark | undefined {
    // Sizes rise, so that the wanted document is found by halving.
    let [low, high] = [0, this.#marks.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((this.#marks[middle]?.logSize ?? 0) > index) high = middle;
      else low = middle + 1;
    }
    return this.#marks[low];
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

  /** The last document of the instance: nothing may follow it, so that no nonce is taken from now on. */
  async finish(): Promise<void> {
    this.#finishing = true;
    while (this.#running) await this.#running;
    await this.#collectOnce(true);
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
    try {
      const { head, nonceTree } = await this.#collect(batch, final);
      const newlyCovered = issued - this.#covered;
      this.#adopt(head, issued);
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
    const { source, keys, issuer, log, publish } = this.#parts;
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
    });
    this.#requireSameDevices(collected.head);
    await publish(size, root);
    // Last: a log takes each document once, and one that it has taken is the head.
    await log.writeEvidence(collected.head.seq, collected.head.encoded);
    return collected;
  }

  /** The set is fixed for an instance: no verifier takes another one for coverage. */
  #requireSameDevices({ serials }: EvidenceHead): void {
    const known = this.#head?.serials ?? serials;
    const same =
      known.length === serials.length && known.every((serial, i) => equalBytes(serial, serials[i] ?? NONE));
    if (!same) throw new VouchingError('EVIDENCE_UNAVAILABLE', 'the set of devices changed');
  }

  #adopt(head: EvidenceHead, issuedBefore: number): void {
    this.#head = head;
    this.#collectedAt = this.#parts.now();
    this.#failure = undefined;
    this.#covered = issuedBefore;
    this.#mark(head);
    const waiting = this.#coverage;
    this.#coverage = waiting.filter(({ index }) => index >= head.logSize);
    for (const { index, resolve } of waiting) if (index < head.logSize) resolve();
    if (this.#coverage.length > 0) this.#wanted = true;
  }

  /** Documents made for nonces alone cover nothing new and are not remembered. */
  #mark({ seq, logSize }: EvidenceHead): void {
    if (logSize > (this.#marks.at(-1)?.logSize ?? 0)) this.#marks.push({ seq, logSize });
    if (this.#marks.length > 2 * MAX_MARKS) this.#marks.splice(0, MAX_MARKS);
  }

  async #recordEpoch(head: EvidenceHead): Promise<void> {
    const body = { kind: 'epoch', seq: head.seq, evidenceDigest: head.digest } as const;
    await this.#parts.issuer.record(body, this.#parts.now());
  }

  #fail(batch: readonly NonceWaiter[], error: unknown): void {
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
