import { utf8 } from '../../attestation/bytes/bytes.ts';
import { encodeBundle, type Covering } from '../../attestation/bundle/bundle.ts';
import type { Collateral } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { encodeCheckpoint } from '../../attestation/log/checkpoint.ts';
import { formatNote } from '../../attestation/log/note.ts';
import { makeVkey } from '../../attestation/log/vkey.ts';
import type { Predecessor } from '../../attestation/receipt/record.ts';
import type { IssuedReceipt, ReceiptDraft } from './draft.ts';
import { VouchingError } from './errors.ts';
import type { EvidenceHead, EvidenceSource } from './evidence.ts';
import { EvidenceLine, type NonceAnswer } from './evidenceLine.ts';
import { Issuer } from './issuer.ts';
import type { InstanceKeys } from './keys.ts';
import type { ReceiptLog } from './log.ts';
import { ReceiptIndex, type ReceiptPlace } from './receiptIndex.ts';

export interface EpochLimits {
  /** An epoch ends after this many milliseconds while a receipt is uncovered. */
  readonly periodMs: number;
  /** An epoch ends when this many receipts are uncovered. */
  readonly receipts: number;
  /** Issuing stops when the cited evidence is older than this and cannot be renewed, milliseconds. */
  readonly maxEvidenceAgeMs: number;
}

export interface VouchingParts {
  readonly keys: InstanceKeys;
  readonly log: ReceiptLog;
  readonly source: EvidenceSource;
  readonly configDigest: Uint8Array;
  readonly predecessor: Predecessor | undefined;
  readonly limits: EpochLimits;
  readonly now: () => number;
}

const sha256 = sha256With(nodeCrypto);

/** Everything by which this instance vouches: evidence, receipts, log. One per process. */
export class Vouching {
  readonly #parts: VouchingParts;
  readonly #issuer: Issuer;
  readonly #line: EvidenceLine;
  readonly #places = new ReceiptIndex();
  readonly #timer: NodeJS.Timeout;
  #issuing = 0;
  #idle: (() => void) | undefined;
  #stopped = false;

  private constructor(parts: VouchingParts) {
    this.#parts = parts;
    const { keys, log, source, now } = parts;
    const { configDigest } = parts;
    this.#issuer = new Issuer({ keys, log, configDigest, head: () => this.#line.head });
    this.#line = new EvidenceLine({
      source,
      keys,
      issuer: this.#issuer,
      log,
      publish: (size, root) => log.publish(this.#checkpoint(size, root), size),
      now,
    });
    this.#timer = setInterval(() => void this.#line.endEpoch(), parts.limits.periodMs);
    this.#timer.unref();
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
      clearInterval(vouching.#timer);
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

  /** Why no receipt can be issued now; undefined while one can. */
  get stopReason(): string | undefined {
    const { keys, limits, now } = this.#parts;
    if (this.#stopped) return 'the instance is stopping';
    if (now() > keys.keyset.notAfter * 1000) return 'the keyset is at its end';
    const { failure, collectedAt } = this.#line;
    if (failure && now() - collectedAt > limits.maxEvidenceAgeMs) return 'evidence cannot be renewed';
    return undefined;
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
    const reason = this.stopReason;
    if (reason) throw new VouchingError('ISSUING_STOPPED', reason);
  }

  /** Issues a receipt; resolves when it is durable. */
  async issue(draft: ReceiptDraft): Promise<IssuedReceipt> {
    this.requireIssuing();
    this.#issuing++;
    try {
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

  /** Resolves when a document covers the log entry. */
  covered(index: number): Promise<void> {
    return this.#line.covered(index);
  }

  /** A receipt by id, for the tenant that made the request. */
  async receipt(id: string, tenant: string | undefined): Promise<Uint8Array> {
    return this.#parts.log.entry(this.#place(id, tenant).index);
  }

  /** Waits until the receipt is covered. */
  async receiptCovered(id: string, tenant: string | undefined): Promise<void> {
    await this.#line.covered(this.#place(id, tenant).index);
  }

  /** A receipt with everything that a verifier needs. */
  async bundle(id: string, tenant: string | undefined): Promise<Uint8Array> {
    const place = this.#place(id, tenant);
    const { log, source } = this.#parts;
    const [receipt, cited, collateral] = await Promise.all([
      log.entry(place.index),
      log.readEvidence(place.cited.seq),
      source.collateral(),
    ]);
    const covering = await this.#covering(place);
    return encodeBundle({ receipt, cited, covering, collateral, policy: undefined, verdict: undefined });
  }

  /** Makes the `final` document and closes the log. Receipts in flight are finished first. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    clearInterval(this.#timer);
    if (this.#issuing > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    await this.#line.finish();
    await this.#parts.log.close();
  }

  async #covering({ index, cited }: ReceiptPlace): Promise<Covering | undefined> {
    const mark = this.#line.covering(index);
    if (!mark) return undefined;
    const { log } = this.#parts;
    const [document, root, inclusion, consistency] = await Promise.all([
      log.readEvidence(mark.seq),
      log.root(mark.logSize),
      log.inclusionProof(index, mark.logSize),
      log.consistencyProof(cited.logSize, mark.logSize),
    ]);
    return { document, checkpoint: this.#checkpoint(mark.logSize, root), inclusion, consistency };
  }

  #checkpoint(size: number, root: Uint8Array): Uint8Array {
    const { keyset, log } = this.#parts.keys;
    const text = encodeCheckpoint({ origin: keyset.origin, size, root, extensions: [] });
    const { name, keyId } = makeVkey(sha256, keyset.origin, keyset.log.x);
    return formatNote(text, [{ name, keyId, signature: log.sign(utf8(text)) }]);
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
