import type { EvidenceHead } from './evidence.ts';
import type { Channel, Outcome, Reason } from '../../attestation/receipt/claims.ts';

/** What is known of one exchange when its receipt is issued. */
export interface ReceiptDraft {
  /** 16 random bytes, given to the client before the answer. */
  readonly id: Uint8Array;
  /** Commitment key: goes to the client only, and is forgotten once the receipt is signed. */
  readonly k: Uint8Array;
  readonly nonce: Uint8Array | undefined;
  readonly channel: Channel;
  readonly method: string;
  readonly path: string;
  readonly model: {
    readonly id: string;
    readonly manifestDigest: Uint8Array;
    readonly providers: readonly string[];
  };
  /** As applied: numbers as decimal text; what can hold content as a commitment. */
  readonly parameters: ReadonlyMap<string, string | Uint8Array>;
  /** Name of the API key; undefined where nobody authenticated. */
  readonly tenant: string | undefined;
  readonly outcome: Outcome;
  readonly reason: Reason | undefined;
  readonly usage: ReadonlyMap<string, number>;
  /** Body of the request, before encryption. */
  readonly request: Uint8Array;
  readonly response: ResponseContent;
}

/** Body of a response, or what a `ChunkHasher` made of a stream. */
export type ResponseContent =
  | { readonly kind: 'body'; readonly body: Uint8Array }
  | {
      readonly kind: 'stream';
      readonly count: number;
      readonly bytes: number;
      readonly root: Uint8Array;
    };

export interface IssuedReceipt {
  readonly id: Uint8Array;
  readonly index: number;
  /** The document that it cites. */
  readonly cited: EvidenceHead;
  /** COSE_Sign1, durable in the log. */
  readonly encoded: Uint8Array;
}
