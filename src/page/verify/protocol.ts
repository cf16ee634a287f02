import type { Check } from '../../../attestation/checks.ts';
import type { Verdict } from '../../../attestation/verdict/verdict.ts';

/** A file as it was dropped, chosen or pasted. */
export interface GivenFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The published policies, or one that the reader pasted, as JSON text. */
export type PolicyChoice = 'default' | 'simulated' | { readonly json: string };

/** What is judged: files that the reader has, or what a service answers to a fresh nonce. */
export type Subject = { readonly files: readonly GivenFile[] } | { readonly service: string };

/** One question to the worker. Texts are as the reader typed them. */
export interface Request {
  readonly id: number;
  readonly subject: Subject;
  readonly policy: PolicyChoice;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  /** The nonce that the reader chose, hex; empty for none. */
  readonly nonce: string;
  /** Report data that a raw CPU report must carry, hex; empty for none. */
  readonly reportData: string;
  /** Keys that the reader trusts beside the published ones, `ROLE:SPKI_SHA256`. */
  readonly anchors: readonly string[];
  /** What the reader kept of the exchange; all three or none. */
  readonly exchange?: ExchangeParts | undefined;
}

export interface ExchangeParts {
  readonly request?: Uint8Array | undefined;
  readonly response?: Uint8Array | undefined;
  /** The key `k`, base64url. */
  readonly commitmentKey?: string | undefined;
}

/** A name and a value, for people. */
export type Row = readonly [name: string, value: string];

/** One evidence document of what was judged. */
export interface DocumentFacts {
  /** `document`, or of a receipt `cited` (A) and `covering` (B). */
  readonly role: 'document' | 'cited' | 'covering';
  readonly digest: string;
  readonly seq: number;
  readonly final: boolean;
  readonly logSize: number;
  readonly platform: string;
  readonly rows: readonly Row[];
}

/** A value of measured software and what the policy expects there. */
export interface Measured {
  /** Such as `cpu launch measurement`. */
  readonly what: string;
  readonly found: string;
  /** Empty where the policy names no values: `any`, or none at all. */
  readonly expected: readonly { readonly name: string; readonly value: string }[];
  readonly state: 'equal' | 'differs' | 'any' | 'missing';
}

export interface DeviceFacts {
  /** As the checks call it, such as `gpu 0`. */
  readonly subject: string;
  readonly kind: 'gpu' | 'switch';
  readonly model: string;
  readonly mode: string;
  readonly driver: string;
  readonly firmware: string;
  /** Serial of the leaf certificate, hex. */
  readonly serial: string;
  readonly anchor: string;
  readonly simulated: boolean;
  readonly comparison: DeviceComparison;
}

/** A report against the reference values that verified, by RIM index. */
export interface DeviceComparison {
  /** Why there is nothing to compare with, or which manifests were compared with. */
  readonly sources: readonly string[];
  readonly equal: number;
  readonly skipped: readonly number[];
  readonly differing: readonly {
    readonly index: number;
    readonly found: string;
    readonly expected: readonly string[];
  }[];
}

/** One point on the line of epochs, in the order in which it must have happened. */
export interface Moment {
  readonly kind: 'lower' | 'evidence' | 'receipt' | 'upper' | 'judged';
  readonly title: string;
  /** ISO 8601; undefined where nobody vouches for one. */
  readonly time?: string | undefined;
  readonly note: string;
}

export type ShownVerdict = Verdict & { readonly extraAnchors?: readonly string[] };

/** What comes first: the verdict, and what it takes no second look to say. */
export interface Report {
  /** Such as `bundle`, or `AMD SEV-SNP report, X.509 certificates`. */
  readonly what: string;
  readonly names: readonly string[];
  readonly policy: string;
  readonly verdict: ShownVerdict;
  readonly receipt: readonly Row[];
  readonly documents: readonly DocumentFacts[];
  readonly moments: readonly Moment[];
  readonly measured: readonly Measured[];
  /** What would make the verdict say more. */
  readonly hints: readonly string[];
  /** Text that an accepted disclosure opens, by item. */
  readonly shown: readonly Row[];
}

/** A failure that is no verdict: nothing was judged. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly advice: string;
}

/** What the worker answers to a request, in this order; `devices` follows a report. */
export type Answer =
  | { readonly id: number; readonly type: 'report'; readonly report: Report }
  | { readonly id: number; readonly type: 'devices'; readonly devices: readonly DeviceFacts[] }
  | { readonly id: number; readonly type: 'failure'; readonly failure: Failure };

export type { Check };
