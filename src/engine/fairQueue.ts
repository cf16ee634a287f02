/** Waiting work of several tenants: who asked for much waits behind itself, not before others. */
export class FairQueue<Item extends { readonly id: number; readonly scope: string }> {
  /** Tenants that wait, in the order of their turns. */
  readonly #lines = new Map<string, Item[]>();

  get length(): number {
    let length = 0;
    for (const line of this.#lines.values()) length += line.length;
    return length;
  }

  push(item: Item): void {
    const line = this.#lines.get(item.scope);
    if (line) line.push(item);
    else this.#lines.set(item.scope, [item]);
  }

  /** The item whose turn it is; it stays. */
  peek(): Item | undefined {
    const [line] = this.#lines.values();
    return line?.[0];
  }

  /** Takes the item whose turn it is; its tenant's next turn comes after everybody else's. */
  shift(): Item | undefined {
    const item = this.peek();
    if (item) this.take(item);
    return item;
  }

  /** Takes an item out of its turn; its tenant's next turn comes after everybody else's. */
  take({ id, scope }: Item): void {
    const line = this.#lines.get(scope);
    if (!line || !this.remove(id)) return;
    this.#lines.delete(scope);
    if (line.length > 0) this.#lines.set(scope, line);
  }

  /** Tenants that wait. */
  get scopes(): readonly string[] {
    return [...this.#lines.keys()];
  }

  /** Every item in the order of the turns: one of each tenant, then the second of each, and so on. */
  *inOrder(): Generator<Item> {
    const lines = [...this.#lines.values()].map((line) => [...line]);
    const longest = Math.max(0, ...lines.map((line) => line.length));
    for (let turn = 0; turn < longest; turn++) {
      for (const line of lines) {
        const item = line[turn];
        if (item) yield item;
      }
    }
  }

  remove(id: number): boolean {
    for (const [scope, line] of this.#lines) {
      const at = line.findIndex((item) => item.id === id);
      if (at < 0) continue;
      line.splice(at, 1);
      if (line.length === 0) this.#lines.delete(scope);
      return true;
    }
    return false;
  }
}
