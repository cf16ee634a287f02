import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { foldRoots } from '../../attestation/log/frontier.ts';
import { emptyRoot, nodeHash } from '../../attestation/log/merkle.ts';

const sha256 = sha256With(nodeCrypto);

/**
 * The right edge of a log's tree above its bundles: the roots of the complete subtrees over whole bundles, largest
 * first. It holds at most 45 hashes, so that an audit needs no more memory for a longer log.
 */
export class BundleTree {
  readonly #roots: Uint8Array[];
  #bundles: number;

  /** Of `bundles` whole bundles, from what `state` gave; empty without. */
  constructor(
    state: { readonly bundles: number; readonly roots: readonly string[] } = { bundles: 0, roots: [] },
  ) {
    this.#bundles = state.bundles;
    this.#roots = state.roots.map((root) => Buffer.from(root, 'hex'));
  }

  get bundles(): number {
    return this.#bundles;
  }

  get state(): { readonly bundles: number; readonly roots: readonly string[] } {
    return { bundles: this.#bundles, roots: this.#roots.map(toHex) };
  }

  /** Appends the root over the next whole bundle. */
  append(root: Uint8Array): void {
    let right = root;
    for (let rest = this.#bundles; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      const left = this.#roots.pop();
      if (left) right = nodeHash(sha256, left, right);
    }
    this.#roots.push(right);
    this.#bundles++;
  }

  /** RFC 9162 root over all bundles, and over the leading entries of the next one of which `partial` is the root. */
  root(partial?: Uint8Array): Uint8Array {
    const roots = partial ? [...this.#roots, partial] : this.#roots;
    return roots.length === 0 ? emptyRoot(sha256) : foldRoots(sha256, roots);
  }
}
