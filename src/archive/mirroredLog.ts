/** The log of one instance, live or former, as the mirror reads it. Paths are those of an instance's folder. */
export interface MirroredLog {
  /** 32 hex digits. */
  readonly instance: string;
  readonly origin: string;
  readonly created: number;
  /** Written by this process now. */
  readonly live: boolean;
  /** Durable entries. */
  readonly size: number;
  /** The newest published checkpoint, a signed note. */
  readonly checkpoint: Uint8Array | undefined;
  /** Number of evidence documents. */
  readonly documents: number;
  entry(index: number): Promise<Uint8Array>;
  /** Content of a tile path; undefined where the log does not reach that far. */
  tile(path: string): Promise<Uint8Array | undefined>;
  readEvidence(seq: number): Promise<Uint8Array>;
  /** A signed checkpoint of exactly this size; undefined where nobody can sign it any more. */
  note(size: number): Promise<Uint8Array | undefined>;
  /** Paths in `anchors/`, `collateral/`, and of `evidence/<seq>.collateral`: what comes beside the log. */
  extras(): Promise<readonly string[]>;
  readExtra(path: string): Promise<Uint8Array | undefined>;
}
