/** Most notes that wait for the index, about 100 bytes each. */
const MAX_NOTES = 500_000;

/**
 * Whose a receipt is, from the moment it is issued until the index has it: the log holds a commitment only, whose key
 * the service forgets. Kept in memory: what a crash takes away, the tenant proves with the key that came with the
 * answer.
 */
export class TenantNotes {
  readonly #tenants = new Map<string, string>();

  /** `receipt` is the id in lower-case hex. Where too many wait, the oldest goes. */
  add(receipt: string, tenant: string | undefined): void {
    if (tenant === undefined) return;
    this.#tenants.set(receipt, tenant);
    if (this.#tenants.size <= MAX_NOTES) return;
    for (const oldest of this.#tenants.keys()) {
      this.#tenants.delete(oldest);
      return;
    }
  }

  get(receipt: string): string | undefined {
    return this.#tenants.get(receipt);
  }

  /** The index has it. */
  forget(receipt: string): void {
    this.#tenants.delete(receipt);
  }
}
