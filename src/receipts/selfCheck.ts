import type { Anchor } from '../../attestation/anchors.ts';
import { appraiseEvidence } from '../../attestation/appraise.ts';
import type { Check } from '../../attestation/checks.ts';
import type { Collateral } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { REFUSALS, type RefusalCode } from '../../attestation/errors.ts';
import { referenceLibrary, type NonceProof } from '../../attestation/evidence/appraise.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import type { ReferenceLibrary } from '../../attestation/evidence/nvidia/references.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { createChainCache } from '../../attestation/x509/chainCache.ts';
import { CodedError } from '../../attestation/codedError.ts';
import { defaultSelfCheckPolicy, ownSelfCheckPolicy } from './selfCheckPolicy.ts';

const ADVICE = {
  SELF_CHECK_FAILED:
    'The verifier of this service refuses its evidence, as clients would. Look at the code that the message names.',
} as const;

/**
 * What collateral or the clock decide: the next document may be good. Everything else says something of this machine,
 * and lasts until the service is restarted.
 */
const RECOVERABLE: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  'COLLATERAL_MISSING',
  'COLLATERAL_EXPIRED',
  'COLLATERAL_NOT_YET_VALID',
  'COLLATERAL_SIGNATURE_INVALID',
  'COLLATERAL_MISMATCH',
  'REFERENCE_VALUES_MISSING',
  'CRL_EXPIRED',
  'CERT_EXPIRED',
  'CERT_MISSING',
  'CERT_ON_HOLD',
  'CERT_STATUS_UNKNOWN',
  'EVIDENCE_STALE',
  'KEYSET_EXPIRED',
  'TIME_CONTRADICTION',
  // Of Intel's statements: newer ones may know the level, or better of it.
  'TCB_OUT_OF_DATE',
  'TCB_SW_HARDENING_NEEDED',
  'TCB_CONFIGURATION_NEEDED',
  'TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED',
  'TCB_OUT_OF_DATE_CONFIGURATION_NEEDED',
  'TCB_NOT_SUPPORTED',
]);

/** Manifests that were verified are not verified again for so long: a certificate of theirs may end meanwhile. */
const LIBRARY_MS = 300_000;
const CHAIN_CACHE = 256;

/** Our own verifier refuses our evidence. */
export class SelfCheckFailure extends CodedError<'SELF_CHECK_FAILED'> {
  /** What the verifier says. */
  readonly refusal: RefusalCode;
  /** The check that failed, such as `cpu.revocation`. */
  readonly check: string;
  /** Whether no later document of this instance can make it good. */
  readonly lasts: boolean;

  constructor({ code, id, subject, reason }: Check) {
    const refusal = code as RefusalCode;
    super(ADVICE, 'SELF_CHECK_FAILED', `${refusal}: ${id} of ${subject}: ${reason}. ${REFUSALS[refusal]}`);
    this.refusal = refusal;
    this.check = `${id} of ${subject}`;
    this.lasts = !RECOVERABLE.has(refusal);
  }
}

export interface SelfCheckParts {
  /** What the operator demands; undefined where nobody wrote it down. */
  readonly policy: Policy | undefined;
  /** Whether the hardware was configured to be simulated. */
  readonly simulated: boolean;
  /** The published ones by default. */
  readonly anchors?: readonly Anchor[] | undefined;
  readonly now: () => number;
  /**
   * After the first document that passes, and after the first that passes after a failure: here devices are let at
   * work. What it throws keeps the document from being published.
   */
  readonly onVerified?: ((verdict: Verdict) => Promise<void>) | undefined;
  /** Told when a failure begins, or becomes another one. */
  readonly onRefused?: ((failure: SelfCheckFailure) => void) | undefined;
  /** Told once what is not judged for want of a policy: the reasons. */
  readonly onUnjudged?: ((reasons: readonly string[]) => void) | undefined;
}

/** What is checked: a document with the proof of one nonce that it answers. */
export interface CheckedDocument {
  readonly encoded: Uint8Array;
  /** Undefined where it was made for nobody's nonce. */
  readonly nonce: NonceProof | undefined;
  readonly collateral: Collateral;
}

/**
 * Judges each evidence document before anyone sees it, with the verifier that clients use. Without a policy of the
 * operator what was launched is not judged, which is said and stops nothing; whatever else is refused or missing does.
 */
export class SelfCheck {
  readonly #parts: SelfCheckParts;
  readonly #chainCache = createChainCache(CHAIN_CACHE);
  #policy: Policy | undefined;
  #manifests:
    { readonly collateral: Collateral; readonly at: number; readonly all: ReferenceLibrary } | undefined;
  #passing = false;
  #refused: string | undefined;
  #saidUnjudged = false;

  constructor(parts: SelfCheckParts) {
    this.#parts = parts;
  }

  /** Throws `SelfCheckFailure` for a document that the verifier refuses. */
  async check({ encoded, nonce, collateral }: CheckedDocument): Promise<void> {
    const context = this.#contextOf(encoded, collateral);
    const { verdict } = await appraiseEvidence(encoded, nonce, context, this.#manifestsOf(context));
    const failed = verdict.checks.filter(({ result }) => result === 'fail');
    const unjudged = failed.filter((check) => this.#isUnjudged(check));
    const refused = causesOf(failed)
      .filter((check) => !unjudged.includes(check))
      .map((check) => new SelfCheckFailure(check));
    const failure = refused.find(({ lasts }) => lasts) ?? refused[0];
    if (failure) throw this.#refuse(failure);
    if (unjudged.length > 0 && !this.#saidUnjudged) {
      this.#saidUnjudged = true;
      this.#parts.onUnjudged?.(unjudged.map(({ id, subject, reason }) => `${id} of ${subject}: ${reason}`));
    }
    await this.#pass(verdict);
  }

  async #pass(verdict: Verdict): Promise<void> {
    this.#refused = undefined;
    if (this.#passing) return;
    await this.#parts.onVerified?.(verdict);
    this.#passing = true;
  }

  #refuse(failure: SelfCheckFailure): SelfCheckFailure {
    this.#passing = false;
    const what = `${failure.refusal} ${failure.check}`;
    if (what !== this.#refused) this.#parts.onRefused?.(failure);
    this.#refused = what;
    return failure;
  }

  /** Manifests of devices are the vendor's to publish, not the operator's: without them a device is not judged. */
  #isUnjudged({ id, code }: Check): boolean {
    return this.#parts.policy === undefined && code === 'REFERENCE_VALUES_MISSING' && id.startsWith('cpu.');
  }

  #contextOf(encoded: Uint8Array, collateral: Collateral): AppraisalContext {
    const { policy, simulated, anchors = DEFAULT_ANCHORS, now } = this.#parts;
    this.#policy ??= policy
      ? ownSelfCheckPolicy(policy)
      : defaultSelfCheckPolicy(parseDocument(encoded), simulated);
    return {
      policy: this.#policy,
      anchors,
      collateral,
      now: now(),
      crypto: nodeCrypto,
      chainCache: this.#chainCache,
    };
  }

  #manifestsOf(context: AppraisalContext): ReferenceLibrary {
    const { collateral, now } = context;
    const known = this.#manifests;
    const usable = known?.collateral === collateral && now >= known.at && now - known.at < LIBRARY_MS;
    if (usable) return known.all;
    const all = referenceLibrary(context);
    this.#manifests = { collateral, at: now, all };
    return all;
  }
}

/** Devices that did not verify are missing in their number, too: the device says why. */
function causesOf(failed: readonly Check[]): readonly Check[] {
  const causes = failed.filter(({ id }) => !id.startsWith('devices.'));
  return causes.length > 0 ? causes : failed;
}
