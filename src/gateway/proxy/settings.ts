import type { Verdict } from '../../../attestation/verdict/verdict.ts';
import type { ConnectOptions } from '../../client/connect.ts';
import type { JudgedTransport } from '../../client/http.ts';
import type { ReceiptMode } from '../../client/receiptChecks.ts';
import type { ReceiptStore } from '../../client/receiptStore.ts';
import type { Redactor } from './redaction.ts';

/**
 * When text reaches the caller. `verified`: once the receipt of the whole answer is accepted. `live`: as it comes, each
 * chunk authentic by itself; the last chunk waits for the verdict over the whole.
 */
export type StreamMode = 'verified' | 'live';

/** What happens, for a log: no content, no keys. */
export type ProxyEvent =
  | { readonly kind: 'evidence'; readonly upstream: string; readonly verdict: Verdict }
  | {
      readonly kind: 'unavailable';
      readonly upstream: string;
      readonly code: string;
      readonly message: string;
      readonly retryMs: number;
    }
  | {
      readonly kind: 'answer';
      readonly upstream: string;
      readonly path: string;
      readonly status: number;
      readonly receiptId: string | undefined;
      readonly ms: number;
    }
  | { readonly kind: 'failover'; readonly upstream: string; readonly code: string }
  | {
      readonly kind: 'failure';
      readonly path: string;
      readonly status: number;
      readonly code: string;
      readonly message: string;
    }
  | { readonly kind: 'fault'; readonly error: unknown };

/** Under what an upstream is judged: the options of `connect` that hold for all of them. */
export type Judging = Pick<ConnectOptions, 'policy' | 'anchors' | 'collateral' | 'crypto' | 'now' | 'fetch'>;

export interface ProxySettings {
  /** Addresses of services, at least one. */
  readonly upstreams: readonly string[];
  readonly judging: Judging;
  /** Anchors among those of `judging` that the caller added to the published ones: each verdict says so. */
  readonly extraAnchors?: readonly string[];
  /** One for each upstream: it compares the TLS key with the evidence. */
  readonly transport?: () => JudgedTransport;
  /** Used for every caller; without it each caller's own is passed through. */
  readonly apiKey?: string;
  /** `127.0.0.1` by default. */
  readonly host?: string;
  /** 0 takes a free one, the default. */
  readonly port?: number;
  /** `verified` by default. */
  readonly stream?: StreamMode;
  /** Keeps what proves each answer. What it throws withholds the answer. */
  readonly archive?: ReceiptStore;
  /** What receipts are judged by: their bundles where they are kept, which then verify offline; else `cited`. */
  readonly receipts?: ReceiptMode;
  readonly redactor?: Redactor;
  readonly limits?: Partial<ProxyLimits>;
  readonly onEvent?: (event: ProxyEvent) => void;
}

export interface ProxyLimits {
  /** Bytes of a request. */
  readonly bodyBytes: number;
  /** Requests in flight. */
  readonly concurrency: number;
  /** Until a request is received, ms. */
  readonly receiveMs: number;
  /** Shortest and longest time between two attempts at an upstream, ms. */
  readonly retryMs: number;
  readonly maxRetryMs: number;
}

export const DEFAULT_LIMITS: ProxyLimits = {
  bodyBytes: 32 * 1024 * 1024,
  concurrency: 256,
  receiveMs: 60_000,
  retryMs: 1000,
  maxRetryMs: 60_000,
};

/** The tier as it is said: with anchors of the caller's, whom the policy does not name, at best a warning. */
export function saidTier(tier: Verdict['tier'], extraAnchors: readonly string[] = []): Verdict['tier'] {
  return extraAnchors.length > 0 && tier === 'affirming' ? 'warning' : tier;
}
