import { toHex } from '../../bytes/bytes.ts';
import { skip, type Check, type CheckId } from '../../checks.ts';
import { nrasPolicyDigest, type NrasPolicy } from '../../policy/nras.ts';
import { notReached, runSteps } from '../../verdict/steps.ts';
import { decide, type Decision, type Tier } from '../../verdict/verdict.ts';
import { isoTime } from '../../x509/time.ts';
import { appraiseNrasTokens } from './appraise.ts';
import type { SentDevice } from './sentDevice.ts';
import { VERIFIED, verifyNrasAnswer, type NrasVerifyOptions, type VerifiedNrasAnswer } from './verify.ts';

const BASIS =
  "This is the word of NVIDIA's attestation service, not of the devices: the service says that it verified them, and nothing of them was verified here. " +
  'Its keys are those of the key set that was supplied. No certificate that a verifier could pin vouches for them: trust in them rests on the TLS connection to the service over which the set was fetched. ' +
  'It takes the place of no check of a device, of no CPU report that commits to device reports, and of no policy that asks for them.';

/** What an answer of the service comes to. A document of its own: it is no part of the verdict on evidence. */
export interface NrasVerdict {
  readonly version: 'vouchsafe/nras-verdict/1';
  readonly decision: Decision;
  /** An accepted answer is a warning at best: another party's word. */
  readonly tier: Exclude<Tier, 'affirming'>;
  /** Whose word it is, by its `iss`; undefined where the tokens did not verify. */
  readonly issuer: string | undefined;
  /** In words: whose word it is, and what the trust in its keys rests on. */
  readonly basis: string;
  /** SHA-256 of the key set as supplied, lower-case hex; undefined without one. */
  readonly keySetDigest: string | undefined;
  /** SHA-256 of the policy, lower-case hex. */
  readonly policyDigest: string;
  /** The time at which all tokens were judged, ISO 8601. */
  readonly judgedAt: string;
  readonly checks: readonly Check[];
}

export interface NrasAppraisal extends NrasVerifyOptions {
  /** The devices whose evidence the asker sent to the service, each with its chain. */
  readonly devices: readonly SentDevice[];
  readonly policy: NrasPolicy;
}

const SUBJECT = 'answer';

/**
 * Judges an answer of NVIDIA's remote attestation service. Throws only for misuse. What it returns is the service's
 * word: it never satisfies a policy that asks for devices to be verified.
 */
export async function appraiseNrasAnswer(bytes: Uint8Array, appraisal: NrasAppraisal): Promise<NrasVerdict> {
  const { devices, jwks, policy, now, crypto } = appraisal;
  const { value: answer, checks } = await runSteps(
    VERIFIED,
    SUBJECT,
    () => verifyNrasAnswer(bytes, appraisal),
    describe,
  );
  const appraised = answer
    ? appraiseNrasTokens(answer, devices, policy)
    : (['token.result', 'token.devices'] as const).map((id) =>
        notReached(id, SUBJECT, 'the tokens did not verify'),
      );
  const all = [...checks, ...appraised, relayLimit()];
  const decision = decide(all);
  return {
    version: 'vouchsafe/nras-verdict/1',
    decision,
    tier: TIERS[decision],
    issuer: answer?.issuer,
    basis: BASIS,
    keySetDigest: jwks && toHex(crypto.hash('sha256', jwks)),
    policyDigest: toHex(nrasPolicyDigest(policy, crypto)),
    // Throws where `now` is no time: by NaN nothing would be out of date.
    judgedAt: new Date(now).toISOString(),
    checks: all,
  };
}

function describe(answer: VerifiedNrasAnswer): Partial<Record<CheckId, string>> {
  const { issuer, overall, devices } = answer;
  const end = Math.min(...[overall, ...devices].map(({ claims }) => claims.expiresAt));
  const errors = devices.filter(({ claims }) => claims.kind === 'error').length;
  const without = errors > 0 ? `; ${errors} error tokens carry none` : '';
  return {
    'token.format': `an overall token and ${devices.length} device tokens`,
    'token.signature': `signed by keys of the key set supplied, as ${issuer}`,
    'token.time': `all are in date until ${isoTime(1000 * end)}`,
    'token.nonce': `made for nonce ${overall.claims.nonce}${without}`,
    'token.submodules': `the overall token names exactly the ${devices.length} device tokens`,
  };
}

const TIERS: Readonly<Record<Decision, NrasVerdict['tier']>> = {
  accepted: 'warning',
  refused: 'contraindicated',
  'not-judged': 'none',
};

function relayLimit(): Check {
  const reason = 'a token says which device passed, not which machine it is in or who uses it';
  return skip('limits.relay', 'devices', 'NOT_EXCLUDED', reason);
}
