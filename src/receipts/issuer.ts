import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { encodeSign1, sigStructure } from '../../attestation/cose/sign1.ts';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { instanceUrn } from '../../attestation/keyset.ts';
import { encodeClaims, type ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { commit } from '../../attestation/receipt/commitment.ts';
import { encodeEntryHeader, RECEIPT_TYPE, RECORD_TYPE } from '../../attestation/receipt/receipt.ts';
import { encodeRecord, type LogRecord } from '../../attestation/receipt/record.ts';
import type { IssuedReceipt, ReceiptDraft } from './draft.ts';
import type { EvidenceHead } from './evidence.ts';
import type { Generation } from './generations.ts';
import type { ReceiptLog } from './log.ts';

type BodyOf<Kind extends LogRecord['kind']> = Omit<
  Extract<LogRecord, { kind: Kind }>,
  'issuedAt' | 'keysetDigest'
>;
export type ActBody = BodyOf<'act'>;
export type RecordBody = BodyOf<'open'> | BodyOf<'epoch'> | ActBody;

/** A log entry has at most 65,535 bytes; signature and heads take less than 128. */
const MAX_SEALABLE_BYTES = 65_535 - 128;

type EntryType = typeof RECEIPT_TYPE | typeof RECORD_TYPE;

/** What is fixed for all receipts of an instance. */
export interface IssuerParts {
  /** The generation of keys that signs now: that of the newest document. */
  readonly generation: () => Generation;
  readonly log: ReceiptLog;
  readonly configDigest: Uint8Array;
  /** The newest evidence document. */
  readonly head: () => EvidenceHead;
}

/**
 * Signs receipts and records and appends them: the only place where the receipt keys are used, and the only writer of
 * the log. Index, cited evidence, its generation of keys, signature and place in the log are taken in one synchronous
 * step, so that the cited evidence never gets older as the index rises.
 */
export class Issuer {
  readonly #parts: IssuerParts;
  /** Protected headers by subject, of one generation: there are as many as models. */
  readonly #headers = new Map<string, Uint8Array>();
  #headersOf: Generation | undefined;

  constructor(parts: IssuerParts) {
    this.#parts = parts;
  }

  /** Issues a receipt that cites the newest evidence; resolves when it is durable. */
  async issue(draft: ReceiptDraft, now: number): Promise<IssuedReceipt> {
    const { head, log } = this.#parts;
    const [cited, index] = [head(), log.size];
    const payload = encodeClaims(this.#claims(draft, cited, index, now));
    const encoded = this.#seal(RECEIPT_TYPE, draft.model.id, payload);
    await this.#append(encoded, index);
    return { id: draft.id, index, cited, encoded };
  }

  /** Appends a record about the log itself. */
  async record(body: RecordBody, now: number): Promise<number> {
    const index = this.#parts.log.size;
    await this.#append(this.#sealRecord(body, now), index);
    return index;
  }

  /**
   * Appends a foreign statement right after the record that announces it, both in one synchronous step: an audit
   * takes an entry that this key did not sign for a gap where no such record stands before it.
   */
  async register(statement: Uint8Array, announcement: ActBody, now: number): Promise<number> {
    const first = this.#parts.log.size;
    const announced = this.#append(this.#sealRecord(announcement, now), first);
    await Promise.all([announced, this.#append(statement, first + 1)]);
    return first + 1;
  }

  #sealRecord(body: RecordBody, now: number): Uint8Array {
    const { keysetDigest } = this.#parts.generation();
    const record = { ...body, issuedAt: seconds(now), keysetDigest } as LogRecord;
    return this.#seal(RECORD_TYPE, body.kind, encodeRecord(record));
  }

  /** A signature that finds no place in the log never leaves this object. */
  async #append(entry: Uint8Array, index: number): Promise<void> {
    const queued = this.#parts.log.enqueue(entry);
    if (queued.index !== index) throw new Error(`entry signed for index ${index} went to ${queued.index}`);
    await queued.durable;
  }

  #seal(type: EntryType, subject: string, payload: Uint8Array): Uint8Array {
    const generation = this.#parts.generation();
    const header = this.#header(generation, type, subject);
    if (header.length + payload.length > MAX_SEALABLE_BYTES) {
      throw new RangeError(`an entry of ${payload.length} bytes does not fit the log`);
    }
    const signature = generation.keys.receipt.sign(sigStructure(header, payload));
    return encodeSign1(header, payload, signature);
  }

  #header(generation: Generation, type: EntryType, subject: string): Uint8Array {
    if (this.#headersOf !== generation) this.#headers.clear();
    this.#headersOf = generation;
    const key = `${type} ${subject}`;
    const known = this.#headers.get(key);
    if (known) return known;
    const { keys, kid } = generation;
    const { alg } = keys.receipt.publicKey;
    const issuer = instanceUrn(keys.keyset.instance);
    const header = encodeEntryHeader({ alg, kid, type, issuer, subject });
    this.#headers.set(key, header);
    return header;
  }

  #claims(draft: ReceiptDraft, head: EvidenceHead, index: number, now: number): ReceiptClaims {
    const { id, k, model, response, tenant } = draft;
    return {
      id,
      issuedAt: seconds(now),
      nonce: draft.nonce,
      index,
      evidenceDigest: head.digest,
      keysetDigest: this.#parts.generation().keysetDigest,
      channel: draft.channel,
      method: draft.method,
      path: draft.path,
      model: model.id,
      manifestDigest: model.manifestDigest,
      configDigest: this.#parts.configDigest,
      providers: model.providers,
      devices: head.serials,
      parameters: draft.parameters,
      tenant: tenant === undefined ? undefined : commit(k, id, 'tenant', 0, utf8(tenant), nodeCrypto),
      outcome: draft.outcome,
      reason: draft.reason,
      usage: draft.usage,
      request: commit(k, id, 'request', 0, draft.request, nodeCrypto),
      response:
        response.kind === 'body'
          ? { kind: 'body', commitment: commit(k, id, 'response', 0, response.body, nodeCrypto) }
          : response,
    };
  }
}

function seconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}
