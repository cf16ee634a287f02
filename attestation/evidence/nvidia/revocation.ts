import { fail, pass, skip, type Check, type CheckId } from '../../checks.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal, type RefusalCode } from '../../errors.ts';
import type { NvidiaPolicy, NvidiaRevocationPolicy } from '../../policy/nvidia.ts';
import type { Certificate } from '../../x509/certificate.ts';
import type { OcspLibrary } from '../../x509/ocspLibrary.ts';
import { lookUpOcspStatus, type OcspOutcome, type OcspStatusOptions } from '../../x509/ocspStatus.ts';
import { isoTime } from '../../x509/time.ts';
import type { VerifiedRim } from './rim.ts';
import type { VerifiedDevice } from './verify.ts';

/**
 * First certificate of a chain that is looked up; the root, last, has no issuer to ask. For the leaf of a device
 * NVIDIA's responder answers `unauthorized`.
 */
const FIRST_OF_DEVICE = 1;
const FIRST_OF_RIM = 0;

export interface RevocationOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  readonly ocspResponses: OcspLibrary;
  readonly policy: Pick<NvidiaPolicy, 'revocation'>;
  readonly subject: string;
}

/**
 * Judges boot ROM, provisioner and identity certificate of a device. For an unknown serial NVIDIA's responder answers
 * good, so good says that the certificate is not on the list of revoked ones, not that it exists: the chain says that.
 */
export async function judgeDeviceRevocation(
  { chain }: VerifiedDevice,
  options: RevocationOptions,
): Promise<Check> {
  const id = 'device.revocation';
  const { revocation } = options.policy;
  if (revocation === 'not-checked') return notChecked(id, 'devices', options.subject);
  const lookUps = await lookUpChain(chain, FIRST_OF_DEVICE, revocation, options);
  return judge(id, lookUps, revocation.device, options);
}

/** Judges the certificates that vouch for a manifest: the signer and the two authorities below the root. */
export async function judgeReferenceRevocation(
  { chain }: VerifiedRim,
  options: RevocationOptions,
): Promise<Check> {
  const id = 'device.reference-revocation';
  const { revocation } = options.policy;
  if (revocation === 'not-checked') return notChecked(id, 'reference values', options.subject);
  const lookUps = await lookUpChain(chain, FIRST_OF_RIM, revocation, options);
  return judge(id, lookUps, revocation.references, options);
}

function notChecked(id: CheckId, what: string, subject: string): Check {
  return skip(id, subject, 'NOT_REQUIRED', `the policy does not ask for revocation of ${what}`);
}

interface LookUp {
  readonly certificate: Certificate;
  readonly outcome: OcspOutcome | Refusal;
}

/** Every certificate is looked up, so that a revocation is said even where another response is missing. */
async function lookUpChain(
  chain: readonly Certificate[],
  first: number,
  { hold, toleranceSeconds }: NvidiaRevocationPolicy,
  { crypto, now, ocspResponses }: RevocationOptions,
): Promise<readonly LookUp[]> {
  const lookUps: LookUp[] = [];
  for (const [i, issuer] of chain.entries()) {
    const certificate = chain[i - 1];
    if (!certificate || i - 1 < first) continue;
    const options = { crypto, now, tolerance: 1000 * toleranceSeconds, hold };
    lookUps.push({ certificate, outcome: await lookUp(certificate, issuer, ocspResponses, options) });
  }
  return lookUps;
}

async function lookUp(
  certificate: Certificate,
  issuer: Certificate,
  library: OcspLibrary,
  options: OcspStatusOptions,
): Promise<OcspOutcome | Refusal> {
  try {
    return await lookUpOcspStatus(certificate, issuer, library, options);
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

/** The worst is said: revoked, on hold, what is wrong with a response, what is missing, what the policy accepts. */
function judge(
  id: CheckId,
  lookUps: readonly LookUp[],
  demanded: 'required' | 'when-present',
  { subject, ocspResponses }: RevocationOptions,
): Check {
  const outcomes = lookUps.map(({ outcome }) => outcome);
  const absent = outcomes.flatMap((outcome) =>
    'kind' in outcome && outcome.kind === 'absent' ? [outcome.refusal] : [],
  );
  const refusals = [
    ...outcomes.filter((outcome) => outcome instanceof Refusal),
    ...ocspResponses.unreadable,
    ...(demanded === 'required' ? absent : []),
  ];
  const worst = worstOf(refusals);
  if (worst) {
    const reasons = refusals.filter(({ code }) => code === worst).map(({ message }) => message);
    return fail(id, subject, worst, reasons.join('; '));
  }
  const held = outcomes.flatMap((outcome) =>
    'kind' in outcome && outcome.kind === 'held' ? [outcome.reason] : [],
  );
  const accepted = [...held, ...absent.map(({ message }) => message)];
  if (accepted.length > 0) return skip(id, subject, 'NOT_REQUIRED', accepted.join('; '));
  return pass(id, subject, lookUps.map(describe).join('; '));
}

const WORST: readonly RefusalCode[] = ['CERT_REVOKED', 'CERT_ON_HOLD'];

function worstOf(refusals: readonly Refusal[]): RefusalCode | undefined {
  const codes = refusals.map(({ code }) => code);
  return WORST.find((code) => codes.includes(code)) ?? codes[0];
}

function describe({ certificate, outcome }: LookUp): string {
  if (!('kind' in outcome) || outcome.kind !== 'good') return certificate.subject;
  const { thisUpdate, signer } = outcome.statement;
  return `${certificate.subject}: good on ${isoTime(thisUpdate)} by ${signer.subject}`;
}
