import { equalBytes } from '../../bytes/bytes.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import type { Certificate } from '../../x509/certificate.ts';
import { isIssuedBy, parseCrls, verifyCrl, type Crl } from '../../x509/crl.ts';
import { refuseRevoked, requireCurrentCrl, type IssuerCrls } from '../../x509/revocation.ts';

const CRL_DISTRIBUTION_POINTS = '2.5.29.31';

export interface RevocationOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  /** DER lists of any issuer; those of issuers outside the chain are passed over. */
  readonly crls: readonly Uint8Array[];
  /** `required`: each certificate that says where its issuer publishes a list must be looked up in one. */
  readonly revocation: 'required' | 'when-present';
}

/** How many certificates say where a list is published, and how many were looked up in one. */
export interface Revocation {
  readonly published: number;
  readonly lookedUp: number;
}

/**
 * Looks up each certificate of a verified path (leaf first, root last) in its issuer's lists. Authorities here share
 * names, so a list counts for the key that signed it; one that no key of the path signed is passed over, which whoever
 * supplies it could have withheld as well.
 */
export async function checkRevocation(
  path: readonly Certificate[],
  options: RevocationOptions,
): Promise<Revocation> {
  const lists = parseCrls(options.crls, (name) =>
    path.some(({ subjectName }) => equalBytes(name, subjectName)),
  );
  let published = 0;
  let lookedUp = 0;
  for (const [i, certificate] of path.slice(0, -1).entries()) {
    const issuer = path[i + 1] ?? certificate;
    const isPublished = certificate.extensions.has(CRL_DISTRIBUTION_POINTS);
    const crls = await crlsOf(issuer, lists, options.crypto);
    refuseRevoked(crls, [certificate], options.now);
    const found = requireCurrentCrl(crls, options.now);
    if (isPublished) published += 1;
    if (found) lookedUp += 1;
    if (isPublished && !found && options.revocation === 'required') {
      throw new Refusal('COLLATERAL_MISSING', `the policy requires the CRL of ${issuer.subject}`);
    }
  }
  return { published, lookedUp };
}

async function crlsOf(
  issuer: Certificate,
  lists: readonly Crl[],
  crypto: CryptoProvider,
): Promise<IssuerCrls> {
  const own: Crl[] = [];
  for (const list of lists) {
    if (isIssuedBy(list, issuer) && (await isSignedBy(list, issuer, crypto))) own.push(list);
  }
  return { issuer, lists: own.toSorted((a, b) => b.thisUpdate - a.thisUpdate) };
}

async function isSignedBy(list: Crl, issuer: Certificate, crypto: CryptoProvider): Promise<boolean> {
  try {
    await verifyCrl(list, issuer, crypto);
    return true;
  } catch (error) {
    if (error instanceof Refusal && error.code === 'SIGNATURE_INVALID') return false;
    throw error;
  }
}
