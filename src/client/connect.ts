import type { Anchor } from '../../attestation/anchors.ts';
import { appraiseEvidence } from '../../attestation/appraise.ts';
import { mergeCollateral, NO_COLLATERAL, type Collateral } from '../../attestation/collateral.ts';
import { portableCrypto } from '../../attestation/crypto/portable.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { fetchAttestation, freshNonce, type Attestation } from './attestation.ts';
import { ClientError } from './errors.ts';
import { serviceAt, type Fetch, type JudgedTransport } from './http.ts';
import { Session } from './session.ts';

export interface ConnectOptions {
  /** What you accept. There is no default: choosing one is the relying party's part. */
  readonly policy: Policy;
  /** Keys that you trust; the published set by default. */
  readonly anchors?: readonly Anchor[];
  /** Goes before what the service supplies. */
  readonly collateral?: Collateral;
  /** WebCrypto by default. */
  readonly crypto?: CryptoProvider;
  /** Milliseconds since 1970; the clock of this machine by default. */
  readonly now?: () => number;
  readonly fetch?: Fetch;
  /** In place of `fetch`: compares the TLS key with the accepted evidence before anything else is sent. */
  readonly transport?: JudgedTransport;
  /** Given by the service's operator. It travels outside the seal, with requests after the evidence was accepted. */
  readonly apiKey?: string;
  /** Told the verdict, accepted or not, before `connect` returns or throws. */
  readonly onVerdict?: (verdict: Verdict, attestation: Attestation) => void;
  readonly signal?: AbortSignal;
}

/**
 * Asks a service for evidence made for a fresh nonce and judges it under your policy. Throws a `ClientError` unless
 * it is accepted; nothing of yours has been sent by then, the API key included.
 */
export async function connect(url: string, options: ConnectOptions): Promise<Session> {
  const { transport } = options;
  const way: Fetch = transport?.fetch ?? options.fetch ?? ((address, init) => fetch(address, init));
  const service = serviceAt(url, way, options.apiKey);
  const nonce = freshNonce();
  const attestation = await fetchAttestation({ ...service, apiKey: undefined }, nonce, options.signal);
  const context = contextOf(options, attestation.collateral);
  const proof = { nonce, ...attestation.place };
  const { verdict, appraisal } = await appraiseEvidence(attestation.document, proof, context());
  options.onVerdict?.(verdict, attestation);
  if (verdict.decision !== 'accepted' || !appraisal.document) throw refusal(verdict);
  transport?.judge(appraisal.document.keyset.tlsSpki);
  return new Session({ service, verdict, document: appraisal.document, context });
}

function contextOf(options: ConnectOptions, supplied: Collateral): () => AppraisalContext {
  const { policy, anchors = DEFAULT_ANCHORS, crypto = portableCrypto, now = Date.now } = options;
  const collateral = mergeCollateral(options.collateral ?? NO_COLLATERAL, supplied);
  return () => ({ policy, anchors, collateral, crypto, now: now() });
}

function refusal(verdict: Verdict): ClientError {
  const code = verdict.decision === 'not-judged' ? 'EVIDENCE_NOT_JUDGED' : 'EVIDENCE_REFUSED';
  const first = verdict.checks.find(({ result }) => result === 'fail');
  return new ClientError(code, first ? `${first.subject}: ${first.code}: ${first.reason}` : code, {
    verdict,
  });
}
