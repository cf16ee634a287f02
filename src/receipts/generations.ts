import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { keyThumbprint } from '../../attestation/cose/key.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { encodeKeyset, keysetDigest, type Keyset } from '../../attestation/keyset.ts';
import type { InstanceKeys } from './keys.ts';

/** The keys of one generation, and what follows from them. */
export interface Generation {
  readonly keys: InstanceKeys;
  readonly keysetDigest: Uint8Array;
  /** RFC 9679 thumbprint of the receipt key. */
  readonly kid: Uint8Array;
}

/** A generation with the part of the log that it signed. */
interface Span {
  readonly generation: Generation;
  /** Index of its first entry. */
  readonly from: number;
}

/**
 * The generations of keys of one instance. Receipts change from one to the next in the instant in which a document
 * that vouches for the next becomes the one that is cited: no receipt is of another keyset than its evidence.
 */
export class Generations {
  readonly #spans: Span[];
  #next: Generation | undefined;

  constructor(first: InstanceKeys) {
    this.#spans = [{ generation: describe(first), from: 0 }];
  }

  /** The generation that signs now. */
  get current(): Generation {
    return this.#last.generation;
  }

  /** The generation that the next document vouches for. */
  get next(): Generation {
    return this.#next ?? this.current;
  }

  /** True while keys wait for their first document. */
  get isPending(): boolean {
    return this.#next !== undefined;
  }

  /** Keysets of all generations, the newest first. */
  get keysets(): readonly Keyset[] {
    return this.#spans.map(({ generation }) => generation.keys.keyset).reverse();
  }

  /** Has the next document vouch for these keys. Throws for keys that do not follow the current ones. */
  prepare(keys: InstanceKeys): void {
    requireSuccessor(this.current, keys.keyset);
    this.#next = describe(keys);
  }

  /** A document of this generation is the head: entries from `index` on are signed with its keys. True on a change. */
  enter(generation: Generation, index: number): boolean {
    if (generation === this.current) return false;
    this.#spans.push({ generation, from: index });
    this.#next = undefined;
    return true;
  }

  /**
   * The keys for a COSE Receipt of an entry: those of the keyset that signed it while they are kept, so that one keyset
   * verifies both, else the current ones.
   */
  inclusionKeys(index = Infinity): InstanceKeys {
    const span = this.#spans.findLast(({ from }) => from <= index) ?? this.#last;
    const { keys } = span.generation;
    return keys.inclusion.isDropped === true ? this.current.keys : keys;
  }

  get #last(): Span {
    const last = this.#spans.at(-1);
    if (!last) throw new Error('an instance has at least one generation of keys');
    return last;
  }
}

function describe(keys: InstanceKeys): Generation {
  return {
    keys,
    keysetDigest: keysetDigest(encodeKeyset(keys.keyset), nodeCrypto),
    kid: keyThumbprint(keys.receipt.publicKey, nodeCrypto),
  };
}

/** Instance, log key and origin stay; the new keyset names the one before (DESIGN section 3). */
function requireSuccessor({ keys, keysetDigest: before }: Generation, keyset: Keyset): void {
  const { generation, instance, log, origin } = keys.keyset;
  const follows =
    keyset.generation === generation + 1 &&
    keyset.previous !== undefined &&
    equalBytes(keyset.previous, before) &&
    equalBytes(keyset.instance, instance) &&
    equalBytes(keyset.log.x, log.x) &&
    keyset.origin === origin;
  if (!follows) throw new TypeError(`keyset ${keyset.generation} does not follow keyset ${generation}`);
}
