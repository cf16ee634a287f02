import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { keyThumbprint } from '../../attestation/cose/key.ts';
import { encodeSign1, sigStructure } from '../../attestation/cose/sign1.ts';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { encodeKeyset, instanceUrn, keysetDigest } from '../../attestation/keyset.ts';
import { encodeClaims, type ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { commit } from '../../attestation/receipt/commitment.ts';
import { encodeEntryHeader, RECEIPT_TYPE, RECORD_TYPE } from '../../attestation/receipt/receipt.ts';
import { encodeRecord, type LogRecord } from '../../attestation/receipt/record.ts';
import type { IssuedReceipt, ReceiptDraft } from './draft.ts';
import type { InstanceKeys } from './keys.ts';
import type { ReceiptLog } from './log.ts';

/** The evidence document that receipts cite. */
export interface EvidenceHead {
  readonly seq: number;
  readonly digest: Uint8Array;
  readonly encoded: Uint8Array;
  readonly logSize: number;
  /** Leaf serials of its devices, in document order. */
  readonly serials: readonly Uint8Array[];
}

export type RecordBody =
  | Omit<Extract<LogRecord, { kind: 'open' }>, 'issuedAt' | 'keysetDigest'>
  | Omit<Extract<LogRecord, { kind: 'epoch' }>, 'issuedAt' | 'keysetDigest'>;

/** Signs receipts and records and appends them. The only place where the receipt key is used. */
export class Issuer {
  readonly keysetDigest: Uint8Array;
  readonly #keys: InstanceKeys;
  readonly #log: ReceiptLog;
  readonly #configDigest: Uint8Array;
  readonly #kid: Uint8Array;
  readonly #issuer: string;
  /** Protected headers by subject: there are as many as models. */
  readonly #headers = new Map<string, Uint8Array>();

  constructor(keys: InstanceKeys, log: ReceiptLog, configDigest: Uint8Array) {
    this.#keys = keys;
    this.#log = log;
    this.#configDigest = configDigest;
    this.#kid = keyThumbprint(keys.receipt.publicKey, nodeCrypto);
    this.#issuer = instanceUrn(keys.keyset.instance);
    this.keysetDigest = keysetDigest(encodeKeyset(keys.keyset), nodeCrypto);
  }

  /**
   * Issues a receipt that cites `head`: index, signature and place in the log are taken in one synchronous step, so
   * the cited evidence never gets older as the index rises. Resolves when the entry is durable.
   */
  async issue(draft: ReceiptDraft, head: EvidenceHead, now: number): Promise<IssuedReceipt> {
    const index = this.#log.size;
    const payload = encodeClaims(this.#claims(draft, head, index, now));
    const encoded = this.#seal(RECEIPT_TYPE, draft.model.id, payload);
    await this.#append(encoded, index);
    return { id: draft.id, index, encoded };
  }

  /** Appends a record about the log itself. */
  async record(body: RecordBody, now: number): Promise<number> {
    const index = this.#log.size;
    const record = { ...body, issuedAt: seconds(now), keysetDigest: this.keysetDigest } as LogRecord;
    await this.#append(this.#seal(RECORD_TYPE, body.kind, encodeRecord(record)), index);
    return index;
  }

  async #append(entry: Uint8Array, index: number): Promise<void> {
    const queued = this.#log.enqueue(entry);
    if (queued.index !== index) throw new Error(`entry signed for index ${index} went to ${queued.index}`);
    await queued.durable;
  }

  #seal(type: typeof RECEIPT_TYPE | typeof RECORD_TYPE, subject: string, payload: Uint8Array): Uint8Array {
    const protectedBytes = this.#header(type, subject);
    const signature = this.#keys.receipt.sign(sigStructure(protectedBytes, payload));
    return encodeSign1(protectedBytes, payload, signature);
  }

  #header(type: typeof RECEIPT_TYPE | typeof RECORD_TYPE, subject: string): Uint8Array {
    const key = `${type} ${subject}`;
    const known = this.#headers.get(key);
    if (known) return known;
    const { alg } = this.#keys.receipt.publicKey;
    const header = encodeEntryHeader({ alg, kid: this.#kid, type, issuer: this.#issuer, subject });
    this.#headers.set(key, header);
    return header;
  }

  #claims(draft: ReceiptDraft, head: EvidenceHead, index: number, now: number): ReceiptClaims {
    const { id, k, model, response } = draft;
    return {
      id,
      issuedAt: seconds(now),
      nonce: draft.nonce,
      index,
      evidenceDigest: head.digest,
      keysetDigest: this.keysetDigest,
      channel: draft.channel,
      method: draft.method,
      path: draft.path,
      model: model.id,
      manifestDigest: model.manifestDigest,
      configDigest: this.#configDigest,
      providers: model.providers,
      devices: head.serials,
      parameters: draft.parameters,
      tenant:
        draft.tenant === undefined ? undefined : commit(k, id, 'tenant', 0, utf8(draft.tenant), nodeCrypto),
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
