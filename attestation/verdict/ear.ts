import { fromHex, toHex } from '../bytes/bytes.ts';
import { encodeDc, type Dc } from '../cbor/deterministic.ts';
import type { Decision, SimulatedComponent, Tier, Verdict } from './verdict.ts';

export const EAR_PROFILE = 'tag:ietf.org,2026:rats/ear#03';

/** Claims of an EAT Attestation Result (draft-ietf-rats-ear), unsigned: sign them to hand them on. */
export interface EarClaims {
  readonly eat_profile: typeof EAR_PROFILE;
  /** Seconds since 1970: the judged time. */
  readonly iat: number;
  readonly ear_verifier_id: { readonly developer: string; readonly build: string };
  readonly submods: Readonly<Record<string, EarAppraisal>>;
}

export interface EarAppraisal {
  readonly ear_status: Tier;
  readonly ear_appraisal_policy_ids: readonly string[];
  /** Ours: the decision under that policy, which is coarser and finer than a tier. */
  readonly vouchsafe_decision: Decision;
  /** Ours: the codes of checks that failed, each once, in their order. */
  readonly vouchsafe_failed: readonly string[];
  /** Ours: every rendering of a verdict says what was simulated. */
  readonly vouchsafe_simulated: readonly SimulatedComponent[];
  /** Ours: SHA-256 (hex) of each thing that was judged, by its name. A result without them is about anything. */
  readonly vouchsafe_inputs?: Readonly<Record<string, string>>;
  /** Ours, seconds since 1970: when the receipt existed at the latest, and after when its evidence was made. */
  readonly vouchsafe_upper?: number;
  readonly vouchsafe_lower?: number;
  /** Ours: roots that the caller added to the published ones. */
  readonly vouchsafe_extra_anchors?: readonly string[];
}

/** What was judged beside the verdict on it: names and SHA-256. */
export type EarInputs = readonly { readonly name: string; readonly sha256: Uint8Array }[];

/** A verdict as EAR; `build` names the verifier's version. */
export function toEar(verdict: Verdict, build: string, inputs: EarInputs = []): EarClaims {
  const failed = verdict.checks.filter(({ result }) => result === 'fail').map(({ code }) => code);
  const digests = inputs.map(({ name, sha256 }) => [name, toHex(sha256)] as const);
  return {
    eat_profile: EAR_PROFILE,
    iat: secondsOf(verdict.judgedAt),
    ear_verifier_id: { developer: 'Vouchsafe', build },
    submods: {
      vouchsafe: {
        ear_status: verdict.tier,
        ear_appraisal_policy_ids: [`urn:sha256:${verdict.policyDigest}`],
        vouchsafe_decision: verdict.decision,
        vouchsafe_failed: [...new Set(failed)],
        vouchsafe_simulated: verdict.simulated,
        ...(digests.length === 0 ? {} : { vouchsafe_inputs: Object.fromEntries(digests) }),
        ...(verdict.upper === undefined ? {} : { vouchsafe_upper: secondsOf(verdict.upper) }),
        ...(verdict.lower === undefined ? {} : { vouchsafe_lower: secondsOf(verdict.lower) }),
      },
    },
  };
}

function secondsOf(isoTime: string): number {
  return Math.floor(Date.parse(isoTime) / 1000);
}

/** CWT and EAT claim keys (RFC 8392, RFC 9711), and those that the draft suggests for EAR. */
const CLAIM = { iat: 6, profile: 265, submods: 266, status: 1000, policies: 1003, verifier: 1004 } as const;
/** Values of AR4SI tiers. */
const TIERS: Readonly<Record<Tier, number>> = { none: 0, affirming: 2, warning: 32, contraindicated: 96 };

/** The same claims as a CWT claims set in deterministic CBOR. Claims of ours keep their names; digests are bytes. */
export function encodeEar({ eat_profile, iat, ear_verifier_id, submods }: EarClaims): Uint8Array {
  const { developer, build } = ear_verifier_id;
  const parts = Object.entries(submods).map(([name, part]) => [name, appraisalMap(part)] as const);
  return encodeDc(
    new Map<number, Dc>([
      [CLAIM.iat, iat],
      [CLAIM.profile, eat_profile],
      [CLAIM.submods, new Map(parts)],
      [
        CLAIM.verifier,
        new Map([
          [0, developer],
          [1, build],
        ]),
      ],
    ]),
  );
}

function appraisalMap({ ear_status, ear_appraisal_policy_ids, ...ours }: EarAppraisal): Dc {
  const { vouchsafe_inputs: inputs, ...rest } = ours;
  const map = new Map<number | string, Dc>([
    [CLAIM.status, TIERS[ear_status]],
    [CLAIM.policies, ear_appraisal_policy_ids],
  ]);
  for (const [name, value] of Object.entries(rest)) map.set(name, value);
  if (inputs) {
    const digests = Object.entries(inputs).map(([name, digest]) => [name, fromHex(digest)] as const);
    map.set('vouchsafe_inputs', new Map(digests));
  }
  return map;
}
