import { type Anchor, findAnchor } from '../anchors.ts';
import { toHex } from '../bytes/bytes.ts';
import type { Check, CheckCode } from '../checks.ts';
import type { Collateral } from '../collateral.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { DEFAULT_ANCHORS } from '../defaultAnchors.ts';
import { REFUSALS, type RefusalCode } from '../errors.ts';
import {
  isWarning,
  type Decision,
  type SimulatedComponent,
  type Tier,
  type Verdict,
} from '../verdict/verdict.ts';
import type { Method } from './method.ts';
import { methodOf } from './methods.ts';
import { collateralAtHand, type JudgedInput, type Part, partsOf } from './parts.ts';

export const VERIFICATION_FORMAT = 'vouchsafe/verification/1';

/** A verdict step by step, for people and their programs: README.md has the members. No two runs on equal input differ. */
export interface VerificationDocument {
  readonly format: typeof VERIFICATION_FORMAT;
  readonly decision: Decision;
  readonly tier: Tier;
  readonly simulated: readonly SimulatedComponent[];
  readonly judged_at: string;
  readonly upper: string | null;
  readonly lower: string | null;
  readonly policy_sha256: string;
  readonly verifier: string;
  readonly inputs: readonly DescribedInput[];
  readonly parts: readonly DescribedPart[];
  readonly anchors: readonly DescribedAnchor[];
  readonly collateral: readonly DescribedCollateral[];
  readonly steps: readonly VerificationStep[];
}

export interface DescribedInput {
  readonly id: JudgedInput['kind'];
  readonly name: string;
  readonly length: number;
  readonly sha256: string;
}

export interface DescribedPart {
  readonly id: string;
  /** The input that holds it, and the offset of its first byte; null where it does not stand there verbatim. */
  readonly input: string | null;
  readonly offset: number | null;
  readonly length: number;
  readonly sha256: string;
}

/** A root key that was trusted in this run, whether a chain led to it or not. */
export interface DescribedAnchor {
  readonly role: string;
  readonly name: string;
  readonly spki_sha256: string;
  readonly simulated: boolean;
  /** False for a root that the caller added to the published ones. */
  readonly published: boolean;
}

/** What a vendor says about evidence, which was at hand in this run. */
export interface DescribedCollateral {
  readonly kind: keyof Collateral;
  /** Of reference values their id. */
  readonly name: string | null;
  readonly length: number;
  readonly sha256: string;
}

export interface VerificationStep {
  readonly number: number;
  readonly check: Check['id'];
  readonly subject: string;
  /** Ids of parts. */
  readonly read: readonly string[];
  readonly compared: string;
  readonly with: string;
  readonly trusts: string;
  /** Roles of the anchors, and kinds of the collateral, that it may rest on. */
  readonly anchors: readonly string[];
  readonly collateral: readonly string[];
  readonly result: Check['result'];
  readonly code: CheckCode;
  /** Why, with the values. */
  readonly reason: string;
  /** What a pass proves; where the result is another, it is not proved. */
  readonly proves: string;
  /** What a person can do; null where nothing is to be done. */
  readonly advice: string | null;
}

export interface VerificationParts {
  readonly inputs: readonly JudgedInput[];
  readonly anchors: readonly Anchor[];
  readonly collateral: Collateral;
  /** Name and version of the verifier. */
  readonly verifier: string;
  readonly crypto: CryptoProvider;
}

/**
 * Says of each check of a verdict what was read and where, what was compared with what, on whose word it rests, what
 * came of it and what can be done. It repeats the verdict and judges nothing.
 */
export function toVerificationDocument(verdict: Verdict, given: VerificationParts): VerificationDocument {
  const parts = partsOf(given.inputs);
  const digest = digestsWith(given.crypto);
  return {
    format: VERIFICATION_FORMAT,
    decision: verdict.decision,
    tier: verdict.tier,
    simulated: verdict.simulated,
    judged_at: verdict.judgedAt,
    upper: verdict.upper ?? null,
    lower: verdict.lower ?? null,
    policy_sha256: verdict.policyDigest,
    verifier: given.verifier,
    inputs: given.inputs.map(({ kind, name, bytes }) => ({ id: kind, name, ...digest(bytes) })),
    parts: parts.map(({ id, bytes, place }) => ({
      id,
      input: place?.input ?? null,
      offset: place?.offset ?? null,
      ...digest(bytes),
    })),
    anchors: given.anchors.map((anchor) => ({
      role: anchor.role,
      name: anchor.name,
      spki_sha256: anchor.spkiSha256,
      simulated: anchor.simulated,
      published: findAnchor(DEFAULT_ANCHORS, anchor.role, anchor.spkiSha256) !== undefined,
    })),
    collateral: describeCollateral(collateralAtHand(given.collateral, given.inputs), digest),
    steps: verdict.checks.map((check, place) => describeStep(check, place, parts)),
  };
}

type Digest = (bytes: Uint8Array) => { readonly length: number; readonly sha256: string };

function digestsWith(crypto: CryptoProvider): Digest {
  return (bytes) => ({ length: bytes.length, sha256: toHex(crypto.hash('sha256', bytes)) });
}

function describeCollateral(collateral: Collateral, digest: Digest): readonly DescribedCollateral[] {
  const plain = (['crls', 'certificates', 'ocspResponses'] as const).flatMap((kind) =>
    collateral[kind].map((bytes) => ({ kind, name: null, ...digest(bytes) })),
  );
  const signed = (['tcbInfos', 'qeIdentities'] as const).flatMap((kind) =>
    collateral[kind].map(({ body }) => ({ kind, name: null, ...digest(body) })),
  );
  const rims = [...collateral.rims].map(([name, bytes]) => ({
    kind: 'rims' as const,
    name,
    ...digest(bytes),
  }));
  return [...rims, ...plain, ...signed];
}

function describeStep(check: Check, place: number, parts: readonly Part[]): VerificationStep {
  const { id, subject, result, code, reason, proves } = check;
  const method = methodOf(id);
  const [compared, other] = method.compares;
  return {
    number: place + 1,
    check: id,
    subject,
    read: readBy(check, method, parts),
    compared,
    with: other,
    trusts: method.trusts,
    anchors: method.anchors ?? [],
    collateral: method.collateral ?? [],
    result,
    code,
    reason,
    proves,
    advice: adviceFor(check),
  };
}

/** Parts of the document that subject or method name, and those that belong to none. */
function readBy({ subject }: Check, { reads, of }: Method, parts: readonly Part[]): readonly string[] {
  const said = /^(?:cited|covering) /.exec(subject)?.[0];
  const item = said === undefined ? subject : subject.slice(said.length);
  const prefix = said ?? (of && `${of} `);
  return parts
    .filter((part) => reads.includes(part.name))
    .filter((part) => part.name !== 'device' || part.id.split('/').at(-1) === item)
    .filter((part) => prefix === undefined || part.prefix === '' || part.prefix === prefix)
    .map(({ id }) => id);
}

/** What to do about a check that did not fail; of those that did, the code says it. */
const SKIPPED: Partial<Record<CheckCode, string>> = {
  NOT_REQUESTED: 'Give the verifier what this check needs, and judge again.',
  NOT_REACHED: 'See the step that failed before: until it passes, this one says nothing.',
  NOT_REQUIRED: 'Demand it in your policy where you need it.',
  NOT_EXCLUDED: 'Know it: no check here can exclude it.',
  NOT_OPENED: 'Ask the holder to open it, where you need to see it.',
  ACCEPTED_SIMULATED: 'Send nothing that matters: this hardware protects nothing.',
};

function adviceFor(check: Check): string | null {
  const { code, result } = check;
  if (result === 'fail' || isWarning(check)) return REFUSALS[code as RefusalCode];
  return SKIPPED[code] ?? null;
}
