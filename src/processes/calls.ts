import type { ArchivedContent } from '../archive/contentRecord.ts';
import type { ArchiveErrorCode } from '../archive/errors.ts';
import type { Embeddings, Generation, GenerateOptions, LoadedModel, Tensor, Text } from '../engine/engine.ts';
import type { Config } from '../config/schema.ts';
import type { ReceiptDraft } from '../receipts/draft.ts';
import type { StopReason } from '../receipts/errors.ts';

/** What a process that serves HTTP hands to the one that signs: the work on one admitted request. */
export interface HandedModel {
  readonly model: string;
  /** Of the model that was named at admission: the receipt states it. */
  readonly manifestDigest: Uint8Array;
  readonly scope: string | undefined;
  readonly deadlineMs: number | undefined;
}

export type Infer = HandedModel & { readonly inputs: readonly Tensor[] };
export interface Inferred {
  readonly outputs: readonly Tensor[];
  /** Rows of the run, where requests may share runs. */
  readonly rows: number | undefined;
}

export type Embed = HandedModel & { readonly texts: readonly Text[] };
export type { Embeddings };

/** Tokens are told while they come. */
export type Generate = HandedModel & {
  readonly prompt: Text;
  readonly options: Omit<GenerateOptions, 'signal' | 'scope' | 'deadlineMs'>;
};
export type { Generation };

/** Content of an answer, for the archive. */
export interface Keep {
  readonly content: ArchivedContent;
  readonly tenant: string | undefined;
}

export type Issue = ReceiptDraft;
export interface Issued {
  readonly index: number;
  readonly encoded: Uint8Array;
  /** Digest of the document that it cites. */
  readonly cited: Uint8Array;
}

/** What the processes know of the one that signs, told when it changes. */
export interface SignerState {
  readonly models: readonly LoadedModel[];
  /** Digest of the newest evidence document. */
  readonly evidence: Uint8Array;
  readonly stop: StopReason | undefined;
  /** Why content that is to be kept cannot be; undefined where it can, or none is kept. */
  readonly content: ArchiveErrorCode | undefined;
}

/** The first that a process hears: what it serves, and where the rest is answered. */
export interface Begin {
  readonly config: Config;
  /** Unix socket of the signing process. */
  readonly socket: string;
  readonly state: SignerState;
}

/** An answered request, for the metrics. */
export interface Counted {
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
}
