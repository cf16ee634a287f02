import { toHex } from '../../attestation/bytes/bytes.ts';
import { appraiseEvidence } from '../../attestation/appraise.ts';
import { parseCollateral } from '../../attestation/bundle/collateral.ts';
import { decodeDc } from '../../attestation/cbor/deterministic.ts';
import {
  encodeKeyAnswer,
  type KeyRequest,
  parseKeyRequest,
  type ReleasePurpose,
  sealDataKey,
} from '../../attestation/channel/keyRelease.ts';
import { type Collateral, NO_COLLATERAL } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { Refusal } from '../../attestation/errors.ts';
import {
  documentDigest,
  type EvidenceDocument,
  MAX_DOCUMENT_BYTES,
} from '../../attestation/evidence/document.ts';
import { keysetDigest } from '../../attestation/keyset.ts';
import { policyDigest } from '../../attestation/policy/digest.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import { actSubject } from '../../attestation/receipt/record.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { type Advice, CodedError } from '../../attestation/codedError.ts';
import { NonceStore } from './nonceStore.ts';
import type { Vouching } from './vouching.ts';

const NONCE_LIFE_MS = 120_000;
const MAX_NONCES = 1024;

const ADVICE = {
  REQUEST_MALFORMED: 'Ask with a Vouchsafe service of this version.',
  NONCE_UNKNOWN: 'A nonce is good once, for two minutes. Ask for another one.',
  NONCES_EXHAUSTED: 'Too many nonces are out. Ask again in two minutes.',
  EVIDENCE_REFUSED:
    'The evidence does not satisfy the policy for key release. The message names what failed.',
  EVIDENCE_NOT_JUDGED: 'Reference values or collateral are missing, so the evidence could not be judged.',
  KEY_UNKNOWN: 'Put the key into the folder keyRelease.keys as <name>.key.',
  KEY_REFUSED:
    'The data key was wrapped by another key, or was changed. Seal the model with the key of this node.',
} satisfies Advice<string>;

export type KeyReleaseErrorCode = keyof typeof ADVICE;

/** Why no key was released. */
export class KeyReleaseError extends CodedError<KeyReleaseErrorCode> {
  constructor(code: KeyReleaseErrorCode, message: string) {
    super(ADVICE, code, message);
  }
}

export interface KeyReleaserParts {
  readonly vouching: Pick<Vouching, 'recordAct' | 'requireIssuing'>;
  readonly policy: Policy;
  /** Unwraps a data key with the key of this name. Throws `KeyReleaseError`. */
  readonly unwrap: (keyName: string, wrapped: Uint8Array) => Promise<Uint8Array>;
  readonly now: () => number;
}

/** What was released to whom; for the log of operations. Nothing of a key is in it. */
export interface Release {
  readonly instance: string;
  readonly model: string;
  readonly keyName: string;
  readonly evidence: string;
  /** Index of the act in the log. */
  readonly index: number;
}

/** Releases data keys of sealed models to instances whose evidence this node's policy accepts. */
export class KeyReleaser {
  readonly #parts: KeyReleaserParts;
  readonly #nonces: NonceStore;
  /** Names the policy in the log. */
  readonly #rule: string;

  constructor(parts: KeyReleaserParts) {
    this.#parts = parts;
    this.#nonces = new NonceStore({ lifeMs: NONCE_LIFE_MS, most: MAX_NONCES, now: parts.now });
    this.#rule = `key-release-policy ${toHex(policyDigest(parts.policy, nodeCrypto))}`;
  }

  /** A nonce for one request, and how many seconds it is good. */
  nonce(): { readonly nonce: Uint8Array; readonly seconds: number } {
    const nonce = this.#nonces.issue();
    if (!nonce) throw new KeyReleaseError('NONCES_EXHAUSTED', `${MAX_NONCES} nonces are out`);
    return { nonce, seconds: NONCE_LIFE_MS / 1000 };
  }

  /**
   * Answers one request. The release is signed and logged before the key is sealed: where it cannot be logged, nothing
   * is released.
   */
  async release(encoded: Uint8Array, actor: string): Promise<{ answer: Uint8Array; release: Release }> {
    const { vouching, unwrap } = this.#parts;
    const { request, collateral } = readRequest(encoded);
    // Used up by the attempt, whatever comes of it.
    if (!this.#nonces.take(request.proof.nonce)) {
      throw new KeyReleaseError(
        'NONCE_UNKNOWN',
        'the nonce was not given by this node, was used, or has ended',
      );
    }
    vouching.requireIssuing();
    const document = await this.#accept(request, collateral);
    const purpose = purposeOf(request, document);
    const dataKey = await unwrap(request.keyName, request.wrapped);
    try {
      const index = await vouching.recordAct({
        act: 'key-released',
        actor,
        rule: this.#rule,
        subject: releaseSubject(document.keyset.instance, purpose),
        count: 1,
      });
      const [hpke] = document.keyset.hpke;
      if (!hpke) throw new KeyReleaseError('EVIDENCE_REFUSED', 'the keyset has no HPKE key');
      const sealed = await sealDataKey(hpke.publicKey, purpose, dataKey, nodeCrypto);
      const release = {
        instance: toHex(document.keyset.instance),
        model: request.model,
        keyName: request.keyName,
        evidence: toHex(purpose.evidence),
        index,
      };
      return { answer: encodeKeyAnswer({ ...sealed, index }), release };
    } finally {
      dataKey.fill(0);
    }
  }

  async #accept({ document, proof }: KeyRequest, collateral: Collateral): Promise<EvidenceDocument> {
    const { policy, now } = this.#parts;
    const { verdict, appraisal } = await appraiseEvidence(document, proof, {
      policy,
      anchors: DEFAULT_ANCHORS,
      collateral,
      now: now(),
      crypto: nodeCrypto,
    });
    if (verdict.decision !== 'accepted' || !appraisal.document) {
      const code = verdict.decision === 'not-judged' ? 'EVIDENCE_NOT_JUDGED' : 'EVIDENCE_REFUSED';
      throw new KeyReleaseError(code, failedChecks(verdict));
    }
    return appraisal.document;
  }
}

/** What an act of release is about: enough for the asker to show that a release was its own. */
export function releaseSubject(instance: Uint8Array, purpose: ReleasePurpose): Uint8Array {
  const { nonce, wrapped, keysetDigest: keyset, evidence } = purpose;
  return actSubject([instance, keyset, evidence, nodeCrypto.hash('sha256', wrapped), nonce], nodeCrypto);
}

function purposeOf(
  { proof, model, keyName, wrapped }: KeyRequest,
  document: EvidenceDocument,
): ReleasePurpose {
  return {
    nonce: proof.nonce,
    model,
    keyName,
    wrapped,
    keysetDigest: keysetDigest(document.encodedKeyset, nodeCrypto),
    evidence: documentDigest(document.encoded, nodeCrypto),
  };
}

function readRequest(encoded: Uint8Array): { readonly request: KeyRequest; readonly collateral: Collateral } {
  try {
    const request = parseKeyRequest(encoded);
    const { document, collateral } = request;
    if (document.length > MAX_DOCUMENT_BYTES)
      throw new Refusal('MALFORMED', 'the evidence document is too large');
    return {
      request,
      collateral: collateral.length === 0 ? NO_COLLATERAL : parseCollateral(decodeDc(collateral)),
    };
  } catch (error) {
    if (error instanceof Refusal)
      throw new KeyReleaseError('REQUEST_MALFORMED', `${error.code}: ${error.message}`);
    throw error;
  }
}

/** Codes alone: what a check says may hold text of the asker. */
function failedChecks({ checks }: Verdict): string {
  const failed = checks.filter(({ result }) => result === 'fail').map(({ id, code }) => `${id} ${code}`);
  return failed.length === 0 ? 'the evidence was not accepted' : failed.slice(0, 8).join(', ');
}
