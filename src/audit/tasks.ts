import type { Anchor } from '../../attestation/anchors.ts';
import type { LocalFinding } from './findings.ts';
import type { JudgedEntries } from './evidenceLine.ts';
import type { DocumentFacts } from './documentFacts.ts';
import type { GivenFile } from './instanceFiles.ts';

/** What a worker is told once: all of it survives `postMessage`. */
export interface WorkerSetup {
  /** Policy as decoded JSON: each worker parses it itself. */
  readonly policy: unknown;
  readonly anchors: readonly Anchor[];
  /** The caller's own collateral, `encodeDc(encodeCollateral(...))`. */
  readonly collateral: Uint8Array;
  /** Model manifests whose receipts are to be named, hex. */
  readonly watchedManifests: readonly string[];
  readonly later: readonly LaterJudgement[];
}

/** What became known of firmware levels later, for the second question. */
export interface LaterJudgement {
  /** Policy as decoded JSON; undefined takes the audit's. */
  readonly policy: unknown;
  /** Encoded collateral whose TCB info replaces that of the day. */
  readonly collateral: Uint8Array | undefined;
  /** Milliseconds since 1970: the time at which it is judged. */
  readonly since: number;
}

/** What is the same for all bundles of an instance. */
export interface InstanceSetup {
  readonly kind: 'instance';
  readonly instance: string;
  /** Encoded keysets by digest in hex. */
  readonly keysets: readonly (readonly [digest: string, encoded: Uint8Array])[];
  /** Entries `from` to `to` - 1 that an export of a range is about; of others the keysets may be left out. */
  readonly judged: JudgedEntries | undefined;
}

/** One bundle of entries. Bytes are handed over and not read again by the sender. */
export interface BundleTask {
  readonly file: GivenFile;
  /** Index of its first entry. */
  readonly first: number;
  readonly width: number;
  /** Signatures of receipts from this index on are verified, and of all records; 0 is all. */
  readonly verifyFrom: number;
  /** Numbers of leading entries of which the root is wanted, too. */
  readonly partialRoots: readonly number[];
  /** The tile of leaf hashes that lies beside it, to be compared. */
  readonly tile: GivenFile | undefined;
}

/** Bundles that follow each other: a message for each would cost a tenth of the audit. */
export interface BundlesTask {
  readonly kind: 'bundles';
  readonly bundles: readonly BundleTask[];
}

export interface DocumentTask {
  readonly kind: 'document';
  readonly seq: number;
  readonly encoded: Uint8Array;
  /** Collateral of its day, encoded; undefined where none was kept. */
  readonly collateral: Uint8Array | undefined;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
}

export type Task = InstanceSetup | BundlesTask | DocumentTask;

/** Entries `from` to `to` - 1 that cite one document under one keyset; digests in hex. */
export interface CitationRun {
  readonly evidence: string;
  readonly keyset: string;
  /** Whether the export is about them: of others it may lack what they cite. */
  readonly judged: boolean;
  readonly from: number;
  to: number;
  /** Receipts among them: records lie between. */
  receipts: number;
}

/** An entry that somebody else signed: it counts where the record right before it announces it. */
export interface ForeignEntry {
  readonly index: number;
  /** What that record must be about, hex. */
  readonly subject: string;
  /** What is wrong where no record announces it. */
  readonly finding: LocalFinding;
}

export type Counted = readonly (readonly [name: string, count: number])[];

/** What one bundle came to. */
export interface BundleFacts {
  /** Bytes of its file. */
  readonly size: number;
  readonly first: number;
  /** Root over its entries; undefined where they cannot be told apart. */
  readonly root: Uint8Array | undefined;
  readonly partialRoots: readonly (readonly [count: number, root: Uint8Array])[];
  readonly runs: readonly CitationRun[];
  /** Records with their places, for the caller to read. */
  readonly records: readonly { readonly index: number; readonly bytes: Uint8Array }[];
  /** Entries that somebody else signed. */
  readonly foreign: readonly ForeignEntry[];
  readonly receipts: number;
  /** Signatures that were verified. */
  readonly signatures: number;
  /** Receipts by hour of their `iat`, hours since 1970. */
  readonly hours: readonly (readonly [hour: number, count: number])[];
  readonly models: Counted;
  readonly outcomes: Counted;
  /** Places of receipts of watched manifests, as ranges `from` to `to` - 1. */
  readonly watched: readonly { readonly manifest: string; readonly from: number; to: number }[];
  readonly findings: readonly LocalFinding[];
}

/** What the bundles of a task came to, in their order; undefined for one that is not there. */
export interface BundlesFacts {
  readonly kind: 'bundles';
  readonly facts: readonly (BundleFacts | undefined)[];
}

export type TaskResult = { readonly kind: 'instance' } | BundlesFacts | DocumentFacts;
