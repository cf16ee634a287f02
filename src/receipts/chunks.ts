import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { Frontier } from '../../attestation/log/frontier.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import { commit } from '../../attestation/receipt/commitment.ts';
import type { ResponseContent } from './draft.ts';

const sha256 = sha256With(nodeCrypto);

/** Commits to the chunks of a stream as they are sent, in O(log n) memory (DESIGN section 5). */
export class ChunkHasher {
  readonly #k: Uint8Array;
  readonly #id: Uint8Array;
  readonly #frontier = new Frontier(sha256);
  #bytes = 0;

  constructor(k: Uint8Array, receiptId: Uint8Array) {
    this.#k = k;
    this.#id = receiptId;
  }

  /** Adds the value bytes of one SSE `data` event. */
  add(chunk: Uint8Array): void {
    const commitment = commit(this.#k, this.#id, 'chunk', this.#frontier.size, chunk, nodeCrypto);
    this.#frontier.append(leafHash(sha256, commitment));
    this.#bytes += chunk.length;
  }

  finish(): ResponseContent {
    return {
      kind: 'stream',
      count: this.#frontier.size,
      bytes: this.#bytes,
      root: this.#frontier.root(),
    };
  }
}
