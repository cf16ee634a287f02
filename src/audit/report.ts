import type { Decision, SimulatedComponent, Tier } from '../../attestation/verdict/verdict.ts';
import type { AnchorTime } from './anchors.ts';
import type { AuditCheckId, Finding } from './findings.ts';
import type { DocumentFacts } from './documentFacts.ts';
import type { DocumentMark } from './evidenceLine.ts';
import type { ActMark, BundleRange, Citations, SavedFindings, WatchedRange } from './progress.ts';

/** One evidence document of an instance, with what its appraisal came to. */
export interface DocumentReport extends DocumentMark {
  readonly facts: DocumentFacts;
  /** Receipts that cite it; undefined where none does. */
  readonly cited: Citations | undefined;
  /** Index of the `epoch` record that names it. */
  readonly record: number | undefined;
  /** When it was there at the latest, by somebody outside; ms since 1970. */
  readonly upper: { readonly time: number; readonly by: string } | undefined;
}

/** What the audit of one instance came to: plain values. */
export interface InstanceReport {
  readonly instance: string;
  readonly origin: string;
  readonly created: number;
  /** Of the newest checkpoint that verified. */
  readonly checkpoint: { readonly size: number; readonly root: string } | undefined;
  readonly entries: number;
  readonly receipts: number;
  /** Statements of others that were registered; whether their own signatures verify is not judged. */
  readonly statements: number;
  readonly signatures: number;
  /** Receipts below this index are covered by an accepted hardware report. */
  readonly coveredSize: number;
  readonly documents: readonly DocumentReport[];
  readonly anchors: readonly AnchorTime[];
  readonly acts: readonly ActMark[];
  readonly hours: Readonly<Record<string, number>>;
  readonly models: Readonly<Record<string, number>>;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly watched: readonly WatchedRange[];
  /** Bundles whose entries are not in the export. */
  readonly missing: readonly BundleRange[];
  /** Roots at the sizes that successors name, hex. */
  readonly rootAt: Readonly<Record<string, string>>;
  readonly findings: SavedFindings;
}

export type AuditCheckCode =
  'OK' | 'COVERED_BY_EPOCH_ROOT' | 'NOT_REQUIRED' | 'NOT_REACHED' | Finding['code'];

/** One named check over the whole export. */
export interface AuditCheck {
  readonly id: AuditCheckId;
  readonly result: 'pass' | 'fail' | 'skip';
  readonly code: AuditCheckCode;
  readonly reason: string;
  readonly proves: string;
}

/** Receipts that became suspect later: the second answer, which leaves the first as it is. */
export interface KnownBad {
  readonly entry: number;
  readonly kind: string;
  readonly what: string;
  readonly since: string;
  readonly reason: string;
  readonly instance: string;
  /** Places of the receipts, both inclusive. */
  readonly first: number;
  readonly last: number;
  readonly receipts: number;
  /** `before`: an outsider saw them before that date. `after`: at or after it. `unknown`: nobody vouches for the time. */
  readonly when: 'before' | 'after' | 'unknown';
}

/** What the renewals of the archive show: undefined times show nothing. Milliseconds since 1970. */
export interface RenewalReport {
  readonly renewals: readonly {
    readonly seq: number;
    readonly kind: 'hash-tree' | 'timestamp';
    readonly hash: string;
    readonly time: number | undefined;
    /** Whether its time may be relied on now. */
    readonly standing: boolean;
    readonly authorities: readonly string[];
  }[];
  /** By the newest renewal of each instance, and of `renewals`. */
  readonly segments: readonly {
    readonly name: string;
    /** When the files surely existed as they are. */
    readonly since: number | undefined;
    readonly matched: number;
    readonly changed: number;
    readonly missing: number;
    readonly uncovered: number;
  }[];
}

export interface AuditReport {
  readonly version: 'vouchsafe/audit/1';
  readonly decision: Decision;
  readonly tier: Tier;
  readonly simulated: readonly SimulatedComponent[];
  /** What was audited: the digest of the export's manifest, or that there is none. */
  readonly source: {
    readonly name: string;
    readonly digest: string | undefined;
    readonly range: { readonly from?: string | undefined; readonly to?: string | undefined } | undefined;
  };
  readonly policyDigest: string;
  readonly judgedAt: string;
  readonly signatures: 'all' | 'covered';
  readonly totals: {
    readonly instances: number;
    readonly entries: number;
    readonly receipts: number;
    readonly documents: number;
    readonly signatures: number;
  };
  readonly checks: readonly AuditCheck[];
  readonly findings: readonly Finding[];
  /** Numbers of findings by code, those that are not listed included. */
  readonly findingCounts: Readonly<Record<string, number>>;
  readonly knownBad: readonly KnownBad[];
  readonly instances: readonly InstanceReport[];
  /** Undefined where the archive was never renewed. */
  readonly renewals: RenewalReport | undefined;
  /** What no check here can exclude. */
  readonly limits: readonly string[];
}
