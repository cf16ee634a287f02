import { appraiseEvidence, type EvidenceResult, type JudgedDocument } from '../../attestation/appraise.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { mergeCollateral, NO_COLLATERAL, type Collateral } from '../../attestation/collateral.ts';
import { portableCrypto } from '../../attestation/crypto/portable.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import type { NonceProof } from '../../attestation/evidence/appraise.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { documentDigest, type EvidenceDocument } from '../../attestation/evidence/document.ts';
import { loadManifestReader } from '../../attestation/evidence/nvidia/rim.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { fetchAttestation, freshNonce, type Attestation } from './attestation.ts';
import { ClientError } from './errors.ts';
import type { JudgedTransport, Service } from './http.ts';
import { verifiedBefore } from './verifiedBefore.ts';

/** What a relying party brings to judge evidence with. */
export type Judging = Pick<AppraisalContext, 'policy'> &
  Partial<Pick<AppraisalContext, 'anchors' | 'collateral' | 'crypto'>> & {
    readonly now?: () => number;
    /** Evidence that took longer to come is too old to be used, milliseconds. */
    readonly maxEvidenceAgeMs: number;
    readonly onVerdict?: (verdict: Verdict, attestation: Attestation) => void;
  };

/** Evidence of a service that the policy accepted: what is sealed to its keys is read by nobody else. */
export interface Trust {
  readonly verdict: Verdict;
  readonly document: EvidenceDocument;
  /** Of the document, lower-case hex: receipts cite it by that. */
  readonly digest: string;
  /** The same for receipts that cite it. */
  readonly judged: JudgedDocument;
  readonly context: () => AppraisalContext;
  /** Milliseconds since 1970, by the caller's clock: before the evidence was asked for. */
  readonly askedAt: number;
}

/** Asks for evidence made for a fresh nonce and judges it; throws a `ClientError` unless it is accepted. */
export async function appraiseService(
  service: Service,
  judging: Judging,
  transport: JudgedTransport | undefined,
  signal?: AbortSignal,
): Promise<Trust> {
  const nonce = freshNonce();
  const { now = Date.now, maxEvidenceAgeMs } = judging;
  const askedAt = now();
  const asked = fetchAttestation({ ...service, apiKey: undefined }, nonce, signal);
  // It is needed once the answer is there, and takes as long to load as the service takes to answer.
  if (judging.policy.devices !== 'none') void loadManifestReader().catch(() => undefined);
  const attestation = await asked;
  // Its age counts from the question, by this clock alone: whoever carries it may have held it back.
  const took = now() - askedAt;
  if (took < 0 || took >= maxEvidenceAgeMs) {
    throw new ClientError(
      'EVIDENCE_STALE',
      `the evidence took ${took} ms, and ${maxEvidenceAgeMs} are allowed`,
    );
  }
  const context = contextOf(judging, attestation.collateral);
  const proof = { nonce, ...attestation.place };
  const { verdict, appraisal, judged } = await appraise(judging, attestation, proof, context());
  judging.onVerdict?.(verdict, attestation);
  if (verdict.decision !== 'accepted' || !appraisal.document) throw refusal(verdict);
  transport?.judge(appraisal.document.keyset.tlsSpki);
  service.oblivious?.trust(appraisal.document.keyset);
  const { document } = appraisal;
  const digest = toHex(documentDigest(document.encoded, context().crypto));
  return { verdict, document, digest, judged, context, askedAt };
}

async function appraise(
  { collateral: own, crypto = portableCrypto }: Judging,
  { document, collateral: supplied }: Attestation,
  proof: NonceProof,
  context: AppraisalContext,
): Promise<EvidenceResult> {
  const before = verifiedBefore(crypto);
  const manifests = before.manifests({ supplied, own, anchors: context.anchors }, context);
  try {
    return await appraiseEvidence(document, proof, context, manifests);
  } catch (error) {
    before.forgetManifests();
    throw error;
  }
}

function contextOf(judging: Judging, supplied: Collateral): () => AppraisalContext {
  const { policy, anchors = DEFAULT_ANCHORS, now = Date.now } = judging;
  const given = judging.crypto ?? portableCrypto;
  // One keyset signs all receipts of a session: its keys are read once.
  const crypto = given.forOneVerification?.() ?? given;
  const collateral = mergeCollateral(judging.collateral ?? NO_COLLATERAL, supplied);
  const { chainCache } = verifiedBefore(given);
  return () => ({ policy, anchors, collateral, crypto, chainCache, now: now() });
}

function refusal(verdict: Verdict): ClientError {
  const code = verdict.decision === 'not-judged' ? 'EVIDENCE_NOT_JUDGED' : 'EVIDENCE_REFUSED';
  const first = verdict.checks.find(({ result }) => result === 'fail');
  return new ClientError(code, first ? `${first.subject}: ${first.code}: ${first.reason}` : code, {
    verdict,
  });
}
