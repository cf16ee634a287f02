import { toHex } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { checkValidity } from './chain.ts';
import { CERTIFICATE_HOLD, type OcspStatement } from './ocsp.ts';
import type { OcspLibrary, VerifiedOcspStatement } from './ocspLibrary.ts';
import { isoTime } from './time.ts';

export interface OcspStatusOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  /** How far the responder's clock may differ from that of the judged time, milliseconds. */
  readonly tolerance: number;
  /** Whether a certificate that is on hold is refused. */
  readonly hold: 'refused' | 'accepted';
}

export type OcspOutcome =
  | { readonly kind: 'good'; readonly statement: VerifiedOcspStatement }
  /** On hold, which was accepted. */
  | { readonly kind: 'held'; readonly reason: string }
  /** No response is about the certificate. The refusal is that of a policy which demands one. */
  | { readonly kind: 'absent'; readonly refusal: Refusal };

/**
 * Looks up a certificate that `issuer`, itself verified already, issued. A revocation counts whatever its window says:
 * whoever supplies the responses can withhold the newest. A hold counts until a later statement that is in date lifts
 * it. Otherwise the newest statement in date decides, and of two as new the worse.
 */
export async function lookUpOcspStatus(
  certificate: Certificate,
  issuer: Certificate,
  library: OcspLibrary,
  options: OcspStatusOptions,
): Promise<OcspOutcome> {
  const found = await library.statementsOf(certificate, issuer, options.crypto);
  const statements = found.toSorted(newestFirst);
  refuseRevoked(certificate, statements, options);
  const current = newestInDate(statements, options);
  if (!current) return { kind: 'absent', refusal: absence(certificate, library) };
  const hold = statements.find((statement) => kindOf(statement) === 'held' && counts(statement, options));
  const isLifted = !(current instanceof Refusal) && hold && current.thisUpdate > hold.thisUpdate;
  if (hold && !isLifted) return judgeHold(certificate, hold, options);
  if (current instanceof Refusal) throw current;
  if (kindOf(current) === 'unknown') {
    const reason = `${current.signer.subject} does not know ${describe(certificate)}`;
    throw new Refusal('CERT_STATUS_UNKNOWN', reason);
  }
  return { kind: 'good', statement: current };
}

/** The first of the statements that is in date, else why the newest is not; undefined where there is none. */
function newestInDate(
  statements: readonly VerifiedOcspStatement[],
  options: OcspStatusOptions,
): VerifiedOcspStatement | Refusal | undefined {
  let refusal: Refusal | undefined;
  for (const statement of statements) {
    const outOfDate = dateRefusal(statement, options);
    if (!outOfDate) return statement;
    refusal ??= outOfDate;
  }
  return refusal;
}

const SEVERITY = { good: 0, unknown: 1, held: 2, revoked: 3 } as const;

function newestFirst(a: VerifiedOcspStatement, b: VerifiedOcspStatement): number {
  return b.thisUpdate - a.thisUpdate || SEVERITY[kindOf(b)] - SEVERITY[kindOf(a)];
}

/**
 * A hold since 1970 is how a responder says that the certificate was never issued (RFC 6960 section 2.2): no policy
 * that accepts holds means that.
 */
function kindOf({ status }: OcspStatement): keyof typeof SEVERITY {
  if (status.kind !== 'revoked') return status.kind;
  if (status.reason !== CERTIFICATE_HOLD) return 'revoked';
  return status.since === 0 ? 'unknown' : 'held';
}

/** A revocation that happens after the judged time, of which only a later response can know, is none yet. */
function counts({ status, thisUpdate }: OcspStatement, { now, tolerance }: OcspStatusOptions): boolean {
  return status.kind === 'revoked' && Math.min(status.since, thisUpdate) <= now + tolerance;
}

function refuseRevoked(
  certificate: Certificate,
  statements: readonly VerifiedOcspStatement[],
  options: OcspStatusOptions,
): void {
  const revocation = statements.find(
    (statement) => kindOf(statement) === 'revoked' && counts(statement, options),
  );
  if (!revocation) return;
  throw new Refusal('CERT_REVOKED', `${describe(certificate)} is revoked ${describeRevocation(revocation)}`);
}

function judgeHold(
  certificate: Certificate,
  hold: VerifiedOcspStatement,
  options: OcspStatusOptions,
): OcspOutcome {
  const reason = `${describe(certificate)} is on hold ${describeRevocation(hold)}`;
  if (options.hold === 'refused') throw new Refusal('CERT_ON_HOLD', reason);
  const outOfDate = dateRefusal(hold, options);
  if (outOfDate) throw outOfDate;
  return { kind: 'held', reason };
}

/** Why a statement is not in date. Without nextUpdate newer information is always available (RFC 6960 section 2.4). */
function dateRefusal(
  { thisUpdate, nextUpdate, signer }: VerifiedOcspStatement,
  { now, tolerance }: OcspStatusOptions,
): Refusal | undefined {
  const until = nextUpdate === undefined ? 'no stated end' : isoTime(nextUpdate);
  const reason = `the OCSP response of ${signer.subject} is in date from ${isoTime(thisUpdate)} to ${until}, judged at ${isoTime(now)}`;
  if (now < thisUpdate - tolerance) return new Refusal('COLLATERAL_NOT_YET_VALID', reason);
  if (nextUpdate === undefined || now > nextUpdate + tolerance) {
    return new Refusal('COLLATERAL_EXPIRED', reason);
  }
  try {
    checkValidity(signer, now);
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

function absence(certificate: Certificate, library: OcspLibrary): Refusal {
  const name = describe(certificate);
  if (library.hasSerial(certificate)) {
    const reason = `the OCSP response for the serial of ${name} names another issuer`;
    return new Refusal('COLLATERAL_MISMATCH', reason);
  }
  const errors = library.errors.map((error) => `; ${error}`).join('');
  return new Refusal('COLLATERAL_MISSING', `no OCSP response for ${name} was supplied${errors}`);
}

function describe({ subject, serial }: Certificate): string {
  return `${subject} with serial ${toHex(serial)}`;
}

function describeRevocation({ status, thisUpdate }: OcspStatement): string {
  if (status.kind !== 'revoked') return '';
  const reason = status.reason === undefined ? 'without reason' : `for reason ${status.reason}`;
  return `since ${isoTime(status.since)} ${reason} by the OCSP response of ${isoTime(thisUpdate)}`;
}
