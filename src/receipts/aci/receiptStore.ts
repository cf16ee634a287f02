/** How long a receipt can be fetched, milliseconds: as the reference service keeps its own. */
const LIFE_MS = 3_600_000;
/** Most receipts at once, about 2 kB each; the oldest give way. */
const MAX_RECEIPTS = 20_000;

interface Kept {
  readonly tenant: string | undefined;
  readonly until: number;
  /** Undefined where it could not be made. */
  readonly receipt: Promise<Uint8Array | undefined>;
}

/** Receipts of ACI in memory, each for the key that made the request. */
export class AciReceiptStore {
  readonly #now: () => number;
  /** By id, in the order in which they came: all live equally long. */
  readonly #kept = new Map<string, Kept>();

  constructor(now: () => number) {
    this.#now = now;
  }

  put(id: string, tenant: string | undefined, receipt: Promise<Uint8Array | undefined>): void {
    this.#dropOld();
    this.#kept.set(id, { tenant, receipt, until: this.#now() + LIFE_MS });
  }

  /** Undefined for an unknown id and for another tenant's alike. */
  async find(id: string, tenant: string | undefined): Promise<Uint8Array | undefined> {
    this.#dropOld();
    const kept = this.#kept.get(id);
    return kept && kept.tenant === tenant ? kept.receipt : undefined;
  }

  #dropOld(): void {
    const now = this.#now();
    for (const [id, { until }] of this.#kept) {
      // A clock that went back keeps nothing alive for longer than its life from now.
      if (this.#kept.size < MAX_RECEIPTS && until > now && until <= now + LIFE_MS) return;
      this.#kept.delete(id);
    }
  }
}
