import { equalBytes } from '../../bytes/bytes.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import type { Certificate } from '../../x509/certificate.ts';
import { isInDate, parseCrls, serialKey, verifyCrl, type Crl } from '../../x509/crl.ts';

export interface RevocationOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  /** DER lists of any issuer; those of other issuers than the ARK are passed over. */
  readonly crls: readonly Uint8Array[];
  readonly revocation: 'required' | 'when-present';
}

/** What is known of revocation: `not-supplied` proves nothing. */
export type Revocation =
  | { readonly status: 'not-revoked'; readonly thisUpdate: number; readonly nextUpdate: number }
  | { readonly status: 'not-supplied' };

/**
 * Looks up the certificates that the ARK issued (the ASK or ASVK, and the ARK itself) in the ARK's CRLs; AMD
 * revokes no single VCEK. The ARK must be pinned already. Whoever supplies the lists can withhold the newest, so one
 * must be in date; each that is supplied must verify, and a revocation in any of them counts.
 */
export async function checkRevocation(
  issued: readonly Certificate[],
  ark: Certificate,
  options: RevocationOptions,
): Promise<Revocation> {
  const { crypto, now } = options;
  const lists = parseCrls(options.crls, (name) => equalBytes(name, ark.subjectName));
  for (const crl of lists) await verifyCrl(crl, ark, crypto);
  for (const crl of lists) refuseRevoked(crl, issued, now);
  const [newest] = lists.toSorted((a, b) => b.thisUpdate - a.thisUpdate);
  if (!newest) {
    if (options.revocation === 'when-present') return { status: 'not-supplied' };
    throw new Refusal('COLLATERAL_MISSING', `the policy requires a CRL of ${ark.subject}`);
  }
  const current = lists.find((crl) => isInDate(crl, now));
  if (!current) {
    throw new Refusal(
      'CRL_EXPIRED',
      `the CRL is in date from ${isoTime(newest.thisUpdate)} to ${isoTime(newest.nextUpdate)}, judged at ${isoTime(now)}`,
    );
  }
  return { status: 'not-revoked', thisUpdate: current.thisUpdate, nextUpdate: current.nextUpdate };
}

/** A list made after the judged time counts only revocations that had happened by then. */
function refuseRevoked(crl: Crl, issued: readonly Certificate[], now: number): void {
  for (const certificate of issued) {
    const since = crl.revoked.get(serialKey(certificate.serial));
    if (since === undefined || (crl.thisUpdate > now && since > now)) continue;
    throw new Refusal(
      'CERT_REVOKED',
      `${certificate.subject} is revoked since ${isoTime(since)} by the CRL of ${isoTime(crl.thisUpdate)}`,
    );
  }
}

function isoTime(time: number): string {
  return new Date(time).toISOString();
}
