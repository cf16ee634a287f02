import type { Anchor } from '../../attestation/anchors.ts';
import type { WantedSuite } from '../../attestation/channel/suites.ts';
import type { Collateral } from '../../attestation/collateral.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import type { Attestation } from './attestation.ts';
import { serviceAt, type Fetch, type JudgedTransport, type Service } from './http.ts';
import { ObliviousWay } from './obliviousWay.ts';
import type { ReceiptMode, VerifiedAnswer } from './receiptChecks.ts';
import type { ReceiptStore } from './receiptStore.ts';
import { Renewal } from './renewal.ts';
import { Sealer } from './sealer.ts';
import { Session } from './session.ts';
import { appraiseService } from './trust.ts';

export interface ConnectOptions {
  /** What you accept. There is no default: choosing one is the relying party's part. */
  readonly policy: Policy;
  /** Keys that you trust; the published set by default. */
  readonly anchors?: readonly Anchor[];
  /** Goes before what the service supplies. */
  readonly collateral?: Collateral;
  /** WebCrypto by default. That of Node is several times as quick, for sealing, too. */
  readonly crypto?: CryptoProvider;
  /** Milliseconds since 1970; the clock of this machine by default. */
  readonly now?: () => number;
  readonly fetch?: Fetch;
  /** In place of `fetch`: compares the TLS key with the accepted evidence before anything else is sent. */
  readonly transport?: JudgedTransport;
  /**
   * Address of a relay of Oblivious HTTP, which someone else than the service runs. Everything goes through it, evidence
   * included: the relay sees who asks and not what, the service what is asked and not who.
   */
  readonly relay?: string;
  /**
   * Given by the service's operator. It travels outside the seal, with requests after the evidence was accepted. Without
   * one, `session.fetch` passes on what the caller's own client sets as `Authorization`.
   */
  readonly apiKey?: string;
  /**
   * What requests are sealed with: X25519, which is the quickest and the default; `hybrid` with ML-KEM-768 beside it,
   * which also holds against whoever records today and has a quantum computer later; `auto` the hybrid one where the
   * service has it.
   */
  readonly suite?: WantedSuite;
  /** Nothing is sealed to evidence that is older; an hour by default, milliseconds. */
  readonly maxEvidenceAgeMs?: number;
  /** What answers of `session.fetch` are checked against; never less than the policy asks for, which is the default. */
  readonly receipts?: ReceiptMode;
  /** Keeps the receipt of each answer of `session.fetch`, with what it takes to prove it later. */
  readonly store?: ReceiptStore;
  /** Told each verdict on evidence, accepted or not, before `connect` returns or throws, and at each renewal. */
  readonly onVerdict?: (verdict: Verdict, attestation: Attestation) => void;
  /** Told each accepted receipt of `session.fetch`, before the answer's end is given to the caller. */
  readonly onReceipt?: (verification: VerifiedAnswer) => void;
  readonly signal?: AbortSignal;
}

const MAX_EVIDENCE_AGE_MS = 3_600_000;

/**
 * Asks a service for evidence made for a fresh nonce and judges it under your policy. Throws a `ClientError` unless
 * it is accepted; nothing of yours has been sent by then, the API key included.
 */
export async function connect(url: string, options: ConnectOptions): Promise<Session> {
  const { transport, maxEvidenceAgeMs: maxAgeMs = MAX_EVIDENCE_AGE_MS, now = Date.now } = options;
  if (!(maxAgeMs > 0)) throw new TypeError('maxEvidenceAgeMs is more than 0');
  const way: Fetch = transport?.fetch ?? options.fetch ?? ((address, init) => fetch(address, init));
  const service = serviceThrough(options, serviceAt(url, way, options.apiKey));
  const judging = { ...options, maxEvidenceAgeMs: maxAgeMs };
  const trust = await appraiseService(service, judging, transport, options.signal);
  const appraise = () => appraiseService(service, judging, transport);
  const renewal = new Renewal(trust, { appraise, maxAgeMs, now });
  const { policy, receipts, store, onReceipt, suite = 'x25519' } = options;
  return new Session({
    service,
    renewal,
    sealer: new Sealer(suite, options.crypto?.hpke),
    policy,
    now,
    receipts,
    store,
    onReceipt,
  });
}

/** The service itself, or over the relay that the options name. */
function serviceThrough({ relay, transport }: ConnectOptions, service: Service): Service {
  if (relay === undefined) return service;
  if (transport) throw new TypeError('a relay has a TLS key of its own: leave transport out');
  const oblivious = new ObliviousWay({ service: service.base, relay, fetch: service.fetch });
  return { ...service, fetch: oblivious.fetch, oblivious };
}
