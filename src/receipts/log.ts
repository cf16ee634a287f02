/** The durable log of this instance, as this room needs it; `src/log` has the one on disk. */
export interface ReceiptLog {
  /** Next index, entries that are not yet durable included. */
  readonly size: number;
  /** Entries that survive a crash. */
  readonly durableSize: number;
  /**
   * Takes the next index at once and resolves `durable` when the entry survives a crash. Throws a coded `LogError`
   * while the log cannot take entries.
   */
  enqueue(entry: Uint8Array): { readonly index: number; readonly durable: Promise<void> };
  /** RFC 9162 root over the first `size` durable entries. */
  root(size: number): Promise<Uint8Array>;
  entry(index: number): Promise<Uint8Array>;
  inclusionProof(index: number, size: number): Promise<readonly Uint8Array[]>;
  consistencyProof(size1: number, size2: number): Promise<readonly Uint8Array[]>;
  /** Publishes a signed checkpoint and the tiles below it. */
  publish(checkpoint: Uint8Array, size: number): Promise<void>;
  /** Keeps the evidence document `seq`. */
  writeEvidence(seq: number, document: Uint8Array): Promise<void>;
  readEvidence(seq: number): Promise<Uint8Array>;
  /** Keeps what vendors said when document `seq` was made, in `dc`; called before the document is written. */
  writeCollateral(seq: number, collateral: Uint8Array): Promise<void>;
  readCollateral(seq: number): Promise<Uint8Array>;
  /** Keeps what outsiders said of the head of this size; what they said later replaces it. */
  writeAnchor(size: number, anchor: Uint8Array): Promise<void>;
  readAnchor(size: number): Promise<Uint8Array>;
  close(): Promise<void>;
}
