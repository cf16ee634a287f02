import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { isInDate, isIssuedBy, serialKey, verifyCrl, type Crl } from './crl.ts';
import { isoTime } from './time.ts';

/** The lists of one issuer, all verified under its key, newest first. Some may be out of date. */
export interface IssuerCrls {
  readonly issuer: Certificate;
  readonly lists: readonly Crl[];
}

/**
 * Those of `crls` that name the issuer, itself verified already; lists of others are passed over. One that does not
 * verify is refused, not passed over: with a forged list beside it, nobody knows which was meant.
 */
export async function verifyCrlsOf(
  issuer: Certificate,
  crls: readonly Crl[],
  crypto: CryptoProvider,
): Promise<IssuerCrls> {
  const lists = crls.filter((crl) => isIssuedBy(crl, issuer));
  for (const crl of lists) await verifyCrl(crl, issuer, crypto);
  return { issuer, lists: lists.toSorted((a, b) => b.thisUpdate - a.thisUpdate) };
}

/**
 * Refuses certificates of the issuer that any of its lists names, out of date ones included: whoever supplies the
 * lists can withhold the newest. A list made after the judged time counts only revocations that had happened by then.
 */
export function refuseRevoked(
  { lists }: IssuerCrls,
  certificates: readonly Certificate[],
  now: number,
): void {
  for (const crl of lists) {
    for (const certificate of certificates) {
      const since = crl.revoked.get(serialKey(certificate.serial));
      if (since === undefined || (crl.thisUpdate > now && since > now)) continue;
      throw new Refusal(
        'CERT_REVOKED',
        `${certificate.subject} is revoked since ${isoTime(since)} by the CRL of ${isoTime(crl.thisUpdate)}`,
      );
    }
  }
}

/** The newest list that is in date; undefined where there is no list of the issuer at all. */
export function requireCurrentCrl(crls: IssuerCrls, now: number): Crl | undefined {
  const [newest] = crls.lists;
  const current = currentCrl(crls, now);
  if (!newest || current) return current;
  const { issuer, thisUpdate, nextUpdate } = newest;
  throw new Refusal(
    'CRL_EXPIRED',
    `the CRL of ${issuer} is in date from ${isoTime(thisUpdate)} to ${isoTime(nextUpdate)}, judged at ${isoTime(now)}`,
  );
}

/** The newest list that is in date; undefined where there is none. */
export function currentCrl({ lists }: IssuerCrls, now: number): Crl | undefined {
  return lists.find((crl) => isInDate(crl, now));
}
