import { equalBytes } from '../../bytes/bytes.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import type { Certificate } from '../../x509/certificate.ts';
import { parseCrls, type Crl } from '../../x509/crl.ts';
import { currentCrl, refuseRevoked, verifyCrlsOf, type IssuerCrls } from '../../x509/revocation.ts';
import { isoTime } from '../../x509/time.ts';
import { commonNameOf } from './distinguishedName.ts';

/** Names in Intel's lists of PCK certificates. Used to say what is wrong with the lists supplied, never to trust one. */
const PCK_CA_NAME = /^Intel SGX PCK [A-Za-z]+ CA$/;

/** A platform's certificates, leaf first, verified up to a pinned root by the caller. */
export interface PckChain {
  readonly pck: Certificate;
  readonly ca: Certificate;
  readonly root: Certificate;
}

export interface CrlWindow {
  /** Milliseconds since 1970. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
}

/** What the lists say: neither the PCK certificate nor its CA is revoked, by lists that are in date. */
export interface PckRevocation {
  readonly root: CrlWindow;
  readonly ca: CrlWindow;
  /** All lists of the root, for the certificates that sign statements. */
  readonly rootCrls: IssuerCrls;
}

export interface PckRevocationOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  /** DER lists of any issuer; those of others than the chain's CA and root are passed over. */
  readonly crls: readonly Uint8Array[];
}

/**
 * Looks up the PCK certificate in the lists of the CA that issued it, and the CA in those of the root. Intel revokes
 * single platforms, so both lists are required and in date.
 */
export async function checkPckRevocation(
  { pck, ca, root }: PckChain,
  { crypto, now, crls }: PckRevocationOptions,
): Promise<PckRevocation> {
  // Those of Intel's other PCK CA are read to say that they are the wrong ones.
  const fits = (name: Uint8Array) =>
    [ca, root].some(({ subjectName }) => equalBytes(name, subjectName)) || isPckCa(name);
  const lists = parseCrls(crls, fits);
  const rootCrls = await verifyCrlsOf(root, lists, crypto);
  const caCrls = await verifyCrlsOf(ca, lists, crypto);
  refuseRevoked(rootCrls, [ca, root], now);
  refuseRevoked(caCrls, [pck], now);
  return {
    root: requireCurrent(rootCrls, lists, now),
    ca: requireCurrent(caCrls, lists, now),
    rootCrls,
  };
}

function requireCurrent(crls: IssuerCrls, all: readonly Crl[], now: number): CrlWindow {
  const [newest] = crls.lists;
  if (!newest) throw missing(crls.issuer, all);
  const current = currentCrl(crls, now);
  if (current) return { thisUpdate: current.thisUpdate, nextUpdate: current.nextUpdate };
  // Lists and statements go out of date together, so they have one code each way.
  const past = crls.lists.find(({ nextUpdate }) => now > nextUpdate);
  const { thisUpdate, nextUpdate } = past ?? newest;
  throw new Refusal(
    past ? 'COLLATERAL_EXPIRED' : 'COLLATERAL_NOT_YET_VALID',
    `the CRL of ${crls.issuer.subject} is in date from ${isoTime(thisUpdate)} to ${isoTime(nextUpdate)}, judged at ${isoTime(now)}`,
  );
}

/** A list of Intel's other PCK CA says nothing of this platform. */
function missing(issuer: Certificate, all: readonly Crl[]): Refusal {
  const other = isPckCa(issuer.subjectName) ? all.find(({ issuerName }) => isPckCa(issuerName)) : undefined;
  return other
    ? new Refusal('COLLATERAL_MISMATCH', `the CRL is of ${other.issuer}, the PCK is of ${issuer.subject}`)
    : new Refusal('COLLATERAL_MISSING', `no CRL of ${issuer.subject} was supplied`);
}

function isPckCa(name: Uint8Array): boolean {
  return PCK_CA_NAME.test(commonNameOf(name) ?? '');
}
