import type { SimulatedComponent, Tier, Verdict } from './verdict.ts';

export const EAR_PROFILE = 'tag:ietf.org,2026:rats/ear#03';

/** Claims of an EAT Attestation Result (draft-ietf-rats-ear), unsigned: sign them to hand them on. */
export interface EarClaims {
  readonly eat_profile: typeof EAR_PROFILE;
  /** Seconds since 1970: the judged time. */
  readonly iat: number;
  readonly ear_verifier_id: { readonly developer: string; readonly build: string };
  readonly submods: Readonly<Record<string, Appraisal>>;
}

interface Appraisal {
  readonly ear_status: Tier;
  readonly ear_appraisal_policy_ids: readonly string[];
  /** Ours: every rendering of a verdict says what was simulated. */
  readonly vouchsafe_simulated: readonly SimulatedComponent[];
  /** Ours, seconds since 1970: when the receipt existed at the latest, and after when its evidence was made. */
  readonly vouchsafe_upper?: number;
  readonly vouchsafe_lower?: number;
}

/** A verdict as EAR; `build` names the verifier's version. */
export function toEar(verdict: Verdict, build: string): EarClaims {
  return {
    eat_profile: EAR_PROFILE,
    iat: secondsOf(verdict.judgedAt),
    ear_verifier_id: { developer: 'Vouchsafe', build },
    submods: {
      vouchsafe: {
        ear_status: verdict.tier,
        ear_appraisal_policy_ids: [`urn:sha256:${verdict.policyDigest}`],
        vouchsafe_simulated: verdict.simulated,
        ...(verdict.upper === undefined ? {} : { vouchsafe_upper: secondsOf(verdict.upper) }),
        ...(verdict.lower === undefined ? {} : { vouchsafe_lower: secondsOf(verdict.lower) }),
      },
    },
  };
}

function secondsOf(isoTime: string): number {
  return Math.floor(Date.parse(isoTime) / 1000);
}
