import { makeVkey, encodeVkey } from '../../attestation/log/vkey.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import type { Keyset } from '../../attestation/keyset.ts';

/** One log as HTTP serves it, of this instance or of a former one. */
export interface ServedLog {
  readonly origin: string;
  /** Newest published checkpoint, a signed note; undefined while there is none. */
  readonly checkpoint: Uint8Array | undefined;
  /** Entries under it. */
  readonly publishedSize: number;
  /** Content of a tile path; undefined where the log does not reach that far. */
  tile(path: string): Promise<Uint8Array | undefined>;
  inclusionProof(index: number, size: number): Promise<readonly Uint8Array[]>;
  consistencyProof(size1: number, size2: number): Promise<readonly Uint8Array[]>;
  readEvidence(seq: number): Promise<Uint8Array>;
  /** Paths of anchors and collateral below the folder of the instance. */
  extras(): Promise<readonly string[]>;
  /** One of `extras`; undefined where there is no such file. */
  readExtra(path: string): Promise<Uint8Array | undefined>;
}

/** The log of an instance that is no more: nothing is added to it. */
export interface FormerServedLog extends ServedLog {
  /** All entries, those after the last checkpoint included. */
  readonly size: number;
  /** The newest evidence document; undefined where there is none. */
  readonly evidenceHead: { readonly seq: number } | undefined;
}

/** A log with what of it auditors read. */
export interface FoundLog {
  readonly log: ServedLog;
  /**
   * Entries that auditors read: the published ones, and of a log that ended all. No checkpoint follows there, and
   * receipts that were given out are among the last.
   */
  readonly entries: number;
}

/** A former log as it was found. */
export interface FormerFound {
  /** In hex. */
  readonly instance: string;
  readonly state: string;
  /** Undefined where the entries cannot be counted. */
  readonly size: number | undefined;
}

/** The logs of former instances. */
export interface FormerServedLogs {
  readonly logs: readonly FormerFound[];
  /** Undefined where there is none of this instance. */
  open(instance: string): Promise<FormerServedLog | undefined>;
}

/** All logs that this service serves. */
export interface ServedLogs {
  readonly own: ServedLog;
  readonly former: FormerServedLogs;
}

const sha256 = sha256With(nodeCrypto);

/** The verifier key of the running instance's checkpoints (C2SP signed-note). */
export function logVkey({ origin, log }: Pick<Keyset, 'log' | 'origin'>): string {
  return encodeVkey(makeVkey(sha256, origin, log.x));
}
