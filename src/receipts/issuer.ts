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
import { VouchingError } from './errors.ts';
import type { EvidenceHead } from './evidence.ts';
import type { InstanceKeys } from './keys.ts';
import type { ReceiptLog } from './log.ts';

export type RecordBody =
  | Omit<Extract<LogRecord, { kind: 'open' }>, 'issuedAt' | 'keysetDigest'>
  | Omit<Extract<LogRecord, { kind: 'epoch' }>, 'issuedAt' | 'keysetDigest'>;

/** Most entries of one trip to the signer. */
const MAX_BATCH = 64;
/** A log entry has at most 65,535 bytes; signature and heads take less than 128. */
const MAX_SEALABLE_BYTES = 65_535 - 128;

interface Sealable {
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
}

interface Placed {
  readonly index: number;
  readonly encoded: Uint8Array;
}

interface Waiting {
  /** Makes what is signed, once the index is known. */
  readonly prepare: (index: number) => Sealable;
  readonly resolve: (placed: Placed) => void;
  readonly reject: (error: unknown) => void;
}

/** What is fixed for all receipts of an instance. */
export interface IssuerParts {
  readonly keys: InstanceKeys;
  readonly log: ReceiptLog;
  readonly configDigest: Uint8Array;
  /** The newest evidence document. */
  readonly head: () => EvidenceHead;
}

/**
 * Signs receipts and records and appends them. The only place where the receipt key is used, and the only writer of
 * the log: one batch is between its indexes and its place in the log at a time, so that indexes are taken in the
 * order of signing, and the cited evidence never gets older as the index rises.
 */
export class Issuer {
  readonly keysetDigest: Uint8Array;
  readonly #parts: IssuerParts;
  readonly #kid: Uint8Array;
  readonly #issuer: string;
  /** Protected headers by subject: there are as many as models. */
  readonly #headers = new Map<string, Uint8Array>();
  #waiting: Waiting[] = [];
  #sealing = false;
  #failure: VouchingError | undefined;

  constructor(parts: IssuerParts) {
    this.#parts = parts;
    const { keyset, receipt } = parts.keys;
    this.#kid = keyThumbprint(receipt.publicKey, nodeCrypto);
    this.#issuer = instanceUrn(keyset.instance);
    this.keysetDigest = keysetDigest(encodeKeyset(keyset), nodeCrypto);
  }

  /** Why nothing can be signed any more; undefined while it can. */
  get failure(): VouchingError | undefined {
    return this.#failure;
  }

  /** Issues a receipt that cites the newest evidence; resolves when it is durable. */
  async issue(draft: ReceiptDraft, now: number): Promise<IssuedReceipt> {
    const committed = commitments(draft);
    let cited: EvidenceHead | undefined;
    const placed = await this.#place((index) => {
      cited = this.#parts.head();
      const payload = encodeClaims(this.#claims(draft, committed, cited, index, now));
      return { header: this.#header(RECEIPT_TYPE, draft.model.id), payload };
    });
    return { id: draft.id, cited: cited ?? this.#parts.head(), ...placed };
  }

  /** Appends a record about the log itself. */
  async record(body: RecordBody, now: number): Promise<number> {
    const record = { ...body, issuedAt: seconds(now), keysetDigest: this.keysetDigest } as LogRecord;
    const sealable = { header: this.#header(RECORD_TYPE, body.kind), payload: encodeRecord(record) };
    return (await this.#place(() => sealable)).index;
  }

  #place(prepare: Waiting['prepare']): Promise<Placed> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ prepare, resolve, reject });
      if (!this.#sealing) void this.#sealWaiting();
    });
  }

  async #sealWaiting(): Promise<void> {
    this.#sealing = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MAX_BATCH);
      try {
        await this.#sealBatch(batch);
      } catch (error) {
        // Signatures that found no place in the log never leave this function.
        for (const { reject } of batch) reject(error);
      }
    }
    this.#sealing = false;
  }

  async #sealBatch(batch: readonly Waiting[]): Promise<void> {
    const { log } = this.#parts;
    const first = log.size;
    const prepared = prepareAll(batch, first);
    const signatures = await this.#signAll(prepared);
    for (const [i, { sealable, waiting }] of prepared.entries()) {
      const signature = signatures[i];
      if (!signature) throw new Error('the signer gave too few signatures');
      const encoded = encodeSign1(sealable.header, sealable.payload, signature);
      const { index, durable } = log.enqueue(encoded);
      if (index !== first + i) throw new Error(`an entry signed for index ${first + i} went to ${index}`);
      durable.then(() => waiting.resolve({ index, encoded }), waiting.reject);
    }
  }

  /** A signer that failed once is not asked again: readiness tells why. */
  async #signAll(prepared: readonly Prepared[]): Promise<readonly Uint8Array[]> {
    if (this.#failure) throw this.#failure;
    const messages = prepared.map(({ sealable: { header, payload } }) => sigStructure(header, payload));
    try {
      return await this.#parts.keys.receipt.signAll(messages);
    } catch (error) {
      this.#failure = new VouchingError('ISSUING_STOPPED', 'receipts cannot be signed', { cause: error });
      throw this.#failure;
    }
  }

  #header(type: typeof RECEIPT_TYPE | typeof RECORD_TYPE, subject: string): Uint8Array {
    const key = `${type} ${subject}`;
    const known = this.#headers.get(key);
    if (known) return known;
    const { alg } = this.#parts.keys.receipt.publicKey;
    const header = encodeEntryHeader({ alg, kid: this.#kid, type, issuer: this.#issuer, subject });
    this.#headers.set(key, header);
    return header;
  }

  #claims(
    draft: ReceiptDraft,
    committed: Commitments,
    head: EvidenceHead,
    index: number,
    now: number,
  ): ReceiptClaims {
    return {
      id: draft.id,
      issuedAt: seconds(now),
      nonce: draft.nonce,
      index,
      evidenceDigest: head.digest,
      keysetDigest: this.keysetDigest,
      channel: draft.channel,
      method: draft.method,
      path: draft.path,
      model: draft.model.id,
      manifestDigest: draft.model.manifestDigest,
      configDigest: this.#parts.configDigest,
      providers: draft.model.providers,
      devices: head.serials,
      parameters: draft.parameters,
      outcome: draft.outcome,
      reason: draft.reason,
      usage: draft.usage,
      ...committed,
    };
  }
}

interface Prepared {
  readonly sealable: Sealable;
  readonly waiting: Waiting;
}

/** What cannot be prepared is refused alone; the others take the indexes without a gap. */
function prepareAll(batch: readonly Waiting[], first: number): readonly Prepared[] {
  const prepared: Prepared[] = [];
  for (const waiting of batch) {
    try {
      const sealable = waiting.prepare(first + prepared.length);
      if (sealable.header.length + sealable.payload.length > MAX_SEALABLE_BYTES) {
        throw new RangeError(`an entry of ${sealable.payload.length} bytes does not fit the log`);
      }
      prepared.push({ sealable, waiting });
    } catch (error) {
      waiting.reject(error);
    }
  }
  return prepared;
}

type Commitments = Pick<ReceiptClaims, 'tenant' | 'request' | 'response'>;

/** After this, `k` and the content are needed no more. */
function commitments({ id, k, tenant, request, response }: ReceiptDraft): Commitments {
  return {
    tenant: tenant === undefined ? undefined : commit(k, id, 'tenant', 0, utf8(tenant), nodeCrypto),
    request: commit(k, id, 'request', 0, request, nodeCrypto),
    response:
      response.kind === 'body'
        ? { kind: 'body', commitment: commit(k, id, 'response', 0, response.body, nodeCrypto) }
        : response,
  };
}

function seconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}
