import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { MemoryTree } from '../../attestation/log/memoryTree.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import { consistencyRanges } from '../../attestation/log/subtrees.ts';
import type { ReceiptLog } from '../../src/receipts/log.ts';

const sha256 = sha256With(nodeCrypto);

/** A log in memory: everything is durable at once. */
export class MemoryLog implements ReceiptLog {
  readonly entries: Uint8Array[] = [];
  readonly documents: Uint8Array[] = [];
  readonly checkpoints: Uint8Array[] = [];
  readonly collateral: Uint8Array[] = [];
  readonly anchors = new Map<number, Uint8Array>();

  get size(): number {
    return this.entries.length;
  }

  get durableSize(): number {
    return this.entries.length;
  }

  enqueue(entry: Uint8Array): { readonly index: number; readonly durable: Promise<void> } {
    this.entries.push(entry);
    return { index: this.entries.length - 1, durable: Promise.resolve() };
  }

  root(size: number): Promise<Uint8Array> {
    return Promise.resolve(this.#tree(0, size).root);
  }

  entry(index: number): Promise<Uint8Array> {
    const entry = this.entries[index];
    return entry ? Promise.resolve(entry) : Promise.reject(new RangeError(`no entry ${index}`));
  }

  inclusionProof(index: number, size: number): Promise<readonly Uint8Array[]> {
    return Promise.resolve(this.#tree(0, size).inclusionPath(index));
  }

  consistencyProof(size1: number, size2: number): Promise<readonly Uint8Array[]> {
    const ranges = consistencyRanges(size1, size2);
    return Promise.resolve(ranges.map(({ start, end }) => this.#tree(start, end).root));
  }

  publish(checkpoint: Uint8Array): Promise<void> {
    this.checkpoints.push(checkpoint);
    return Promise.resolve();
  }

  writeEvidence(seq: number, document: Uint8Array): Promise<void> {
    this.documents[seq] = document;
    return Promise.resolve();
  }

  readEvidence(seq: number): Promise<Uint8Array> {
    const document = this.documents[seq];
    return document ? Promise.resolve(document) : Promise.reject(new RangeError(`no document ${seq}`));
  }

  writeCollateral(seq: number, collateral: Uint8Array): Promise<void> {
    this.collateral[seq] = collateral;
    return Promise.resolve();
  }

  readCollateral(seq: number): Promise<Uint8Array> {
    const collateral = this.collateral[seq];
    return collateral ? Promise.resolve(collateral) : Promise.reject(new RangeError(`no collateral ${seq}`));
  }

  writeAnchor(size: number, anchor: Uint8Array): Promise<void> {
    this.anchors.set(size, anchor);
    return Promise.resolve();
  }

  readAnchor(size: number): Promise<Uint8Array> {
    const anchor = this.anchors.get(size);
    return anchor ? Promise.resolve(anchor) : Promise.reject(new RangeError(`no anchor ${size}`));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #tree(start: number, end: number): MemoryTree {
    return new MemoryTree(
      sha256,
      this.entries.slice(start, end).map((entry) => leafHash(sha256, entry)),
    );
  }
}
