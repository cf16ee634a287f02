/** What the API of the console answers, as this page reads it. Times are seconds since 1970 by the service's clock. */
export interface Status {
  readonly format: string;
  readonly time: number;
  readonly started_at: number;
  readonly software: { readonly name: string; readonly version: string };
  readonly hardware: string;
  readonly instance: string;
  readonly log_origin: string;
  readonly ready: boolean;
  readonly alarms: readonly Alarm[];
  readonly evidence: Evidence;
  readonly self_check: {
    readonly state: 'passed' | 'failed' | 'pending' | 'off';
    readonly refusal: string | null;
    readonly advice: string | null;
  };
  readonly keyset: { readonly generation: number; readonly digest: string; readonly not_after: number };
  readonly log: {
    readonly entries: number;
    readonly published: number;
    readonly checkpoint_at: number | null;
    readonly failure: string | null;
  };
  readonly engine: { readonly state: string; readonly restarts: number; readonly pending: number };
  readonly models: readonly Model[];
  readonly requests: {
    readonly inside: number;
    readonly waiting: number;
    readonly places: number;
    readonly concurrency: number;
    readonly processes: number;
  };
  readonly collateral: {
    readonly statements: readonly Statement[];
    readonly gaps: readonly string[];
  } | null;
  readonly anchoring: {
    readonly entries: number;
    readonly age_seconds: number | null;
    readonly failing: readonly { readonly name: string; readonly code: string }[];
  } | null;
  readonly archive: { readonly state: string; readonly behind: number } | null;
  readonly findings: readonly Finding[];
  readonly machine: Machine | null;
  readonly documents: readonly EvidenceDocument[];
}

export interface Alarm {
  readonly code: string;
  readonly severity: 'critical' | 'warning' | 'notice';
  readonly summary: string;
  readonly advice: string;
  readonly causes: readonly {
    readonly subject: string;
    readonly code: string | null;
    readonly advice: string | null;
  }[];
}

export interface Evidence {
  readonly head: {
    readonly seq: number;
    readonly digest: string;
    readonly collected_at: number;
    readonly age_seconds: number;
  } | null;
  readonly max_age_seconds: number;
  readonly epoch_seconds: number;
  readonly uncovered: number;
  readonly failure: { readonly code: string } | null;
  /** Milliseconds. */
  readonly took: {
    readonly cpu: number;
    readonly devices: number;
    readonly self_check: number | null;
  } | null;
}

export interface Model {
  readonly id: string;
  readonly tasks: readonly string[];
  readonly state: string;
  readonly reason: string | null;
  readonly manifest_digest: string | null;
  readonly providers: readonly string[];
}

export interface Statement {
  readonly kind: string;
  readonly name: string;
  readonly age_seconds: number | null;
  readonly expires_at: number | null;
  readonly failing: { readonly code: string; readonly advice: string; readonly since: number } | null;
}

export interface Finding {
  readonly what: string;
  readonly state: 'usable' | 'absent' | 'unusable';
  readonly detail: string;
  readonly fix?: string | undefined;
}

type Facts = readonly (readonly [string, string])[];

export interface Machine {
  readonly cpu: { readonly platform: string; readonly debug: boolean; readonly facts: Facts };
  readonly devices: readonly { readonly kind: string; readonly serial: string; readonly facts: Facts }[];
}

export interface EvidenceDocument {
  readonly seq: number;
  readonly digest: string;
  readonly collected_at: number;
  readonly log_size: number;
}

/** Rates are per second over the span of the sample. */
export interface Sample {
  readonly time: number;
  readonly requests: number;
  readonly failures: number;
  readonly p50_ms: number | null;
  readonly p99_ms: number | null;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly inside: number;
  readonly waiting: number;
  readonly pending: number;
  readonly uncovered: number;
}

export interface SeriesPage {
  readonly format: string;
  readonly sample_seconds: number;
  readonly first: number;
  readonly next: number;
  readonly samples: readonly Sample[];
}

export interface FeedEntry {
  readonly kind: 'receipt' | 'open' | 'epoch' | 'act' | 'statement';
  readonly index: number;
  readonly time?: number;
  readonly id?: string;
  readonly model?: string;
  readonly outcome?: string;
  readonly reason?: string | null;
  readonly channel?: string;
  readonly usage?: Readonly<Record<string, number>>;
  readonly detail?: string;
}

export interface FeedPage {
  readonly format: string;
  readonly size: number;
  readonly skipped: number;
  readonly entries: readonly FeedEntry[];
}
