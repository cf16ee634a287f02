import { createHash } from 'node:crypto';
import type { Prefix } from './decoder.ts';

/** A prompt in the pieces in which it is computed, and where its state is kept after each. */
export interface PromptPieces {
  readonly pieces: readonly (readonly number[])[];
  /** Key of the state after each piece. */
  readonly keys: readonly string[];
}

/**
 * Cuts a prompt into pieces of `size` tokens and names the state after each: SHA-256 over the state before and the
 * piece, begun with the tenant. Tenants never share a state, whose presence would tell one what another has asked.
 */
export function cutPrompt(ids: readonly number[], size: number, scope: string): PromptPieces {
  const pieces: (readonly number[])[] = [];
  const keys: string[] = [];
  let state = createHash('sha256').update(scope).digest();
  for (let start = 0; start < ids.length; start += size) {
    const piece = ids.slice(start, start + size);
    state = createHash('sha256').update(state).update(Uint32Array.from(piece)).digest();
    pieces.push(piece);
    keys.push(state.toString('base64'));
  }
  return { pieces, keys };
}

/** What prompts have left behind, the least recently used given up first. */
export class PrefixStore {
  readonly #limit: number;
  readonly #entries = new Map<string, Prefix>();
  #bytes = 0;

  /** `limit` in bytes; 0 keeps nothing. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The longest state of this prompt that is kept, and the number of pieces in it. The caller releases it. */
  find({ keys }: PromptPieces): { readonly prefix: Prefix | undefined; readonly pieces: number } {
    for (let pieces = keys.length; pieces > 0; pieces--) {
      const key = keys[pieces - 1] ?? '';
      const prefix = this.#entries.get(key);
      if (!prefix) continue;
      this.#entries.delete(key);
      this.#entries.set(key, prefix);
      return { prefix: prefix.retain(), pieces };
    }
    return { prefix: undefined, pieces: 0 };
  }

  /**
   * Keeps the state after so many pieces where that is the whole prompt or a power of two: all of one prompt together
   * then take at most three times its own room.
   */
  keep({ keys }: PromptPieces, pieces: number, prefix: Prefix): void {
    const key = keys[pieces - 1];
    const kept = pieces === keys.length || (pieces & (pieces - 1)) === 0;
    if (key === undefined || !kept || prefix.bytes > this.#limit || this.#entries.has(key)) return;
    this.#entries.set(key, prefix.retain());
    this.#bytes += prefix.bytes;
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#limit) break;
      this.#drop(oldest, entry);
    }
  }

  clear(): void {
    for (const [key, prefix] of this.#entries) this.#drop(key, prefix);
  }

  #drop(key: string, prefix: Prefix): void {
    this.#entries.delete(key);
    this.#bytes -= prefix.bytes;
    prefix.release();
  }
}
