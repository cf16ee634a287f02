import type { DocumentMark } from './coverageMarks.ts';

/** Where a receipt is in the log, what it cites, and whose it is. */
export interface ReceiptPlace {
  readonly index: number;
  readonly cited: DocumentMark;
  readonly tenant: string | undefined;
}

const ID_BYTES = 16;
/** Slot: id, log index, cited seq, cited log size (6 bytes each), tenant (4 bytes). */
const OFFSET = { index: 16, seq: 22, logSize: 28, tenant: 34 } as const;
const SLOT_BYTES = 38;
const BUCKETS = 8192;
const SLOTS_PER_BUCKET = 16;
const BUCKET_BYTES = SLOTS_PER_BUCKET * SLOT_BYTES;

/**
 * The newest receipts by id, in 5 MB whatever their number: one table outside the heap, since 100,000 objects would
 * cost the collector more than issuing does. Ids are random, so they spread over the buckets by themselves; each
 * bucket forgets its oldest. At 131,072 slots the newest 20,000 receipts are found with near certainty, most of the newest 100,000 too.
 */
export class ReceiptIndex {
  readonly #table = Buffer.alloc(BUCKETS * BUCKET_BYTES);
  readonly #nextSlot = new Uint8Array(BUCKETS);
  /** Names by number; 0 is nobody. There are as many as API keys. */
  readonly #tenants: (string | undefined)[] = [undefined];
  readonly #tenantNumbers = new Map<string | undefined, number>([[undefined, 0]]);

  add(id: Uint8Array, { index, cited, tenant }: ReceiptPlace): void {
    const bucket = bucketOf(id);
    const slot = this.#nextSlot[bucket] ?? 0;
    this.#nextSlot[bucket] = (slot + 1) % SLOTS_PER_BUCKET;
    const at = bucket * BUCKET_BYTES + slot * SLOT_BYTES;
    this.#table.set(id, at);
    this.#table.writeUIntLE(index, at + OFFSET.index, 6);
    this.#table.writeUIntLE(cited.seq, at + OFFSET.seq, 6);
    this.#table.writeUIntLE(cited.logSize, at + OFFSET.logSize, 6);
    this.#table.writeUInt32LE(this.#tenantNumber(tenant), at + OFFSET.tenant);
  }

  /** Undefined where the id is unknown or forgotten. */
  find(id: Uint8Array): ReceiptPlace | undefined {
    if (id.length !== ID_BYTES) return undefined;
    const start = bucketOf(id) * BUCKET_BYTES;
    for (let at = start; at < start + BUCKET_BYTES; at += SLOT_BYTES) {
      if (this.#table.compare(id, 0, ID_BYTES, at, at + ID_BYTES) === 0) return this.#read(at);
    }
    return undefined;
  }

  #read(at: number): ReceiptPlace | undefined {
    const index = this.#table.readUIntLE(at + OFFSET.index, 6);
    // Entry 0 is the `open` record: a slot with index 0 was never written.
    if (index === 0) return undefined;
    const seq = this.#table.readUIntLE(at + OFFSET.seq, 6);
    const logSize = this.#table.readUIntLE(at + OFFSET.logSize, 6);
    return {
      index,
      cited: { seq, logSize },
      tenant: this.#tenants[this.#table.readUInt32LE(at + OFFSET.tenant)],
    };
  }

  #tenantNumber(tenant: string | undefined): number {
    const known = this.#tenantNumbers.get(tenant);
    if (known !== undefined) return known;
    this.#tenantNumbers.set(tenant, this.#tenants.length);
    return this.#tenants.push(tenant) - 1;
  }
}

function bucketOf(id: Uint8Array): number {
  return (((id[0] ?? 0) << 8) | (id[1] ?? 0)) % BUCKETS;
}
