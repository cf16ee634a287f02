import { equalBytes } from '../../bytes/bytes.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import type { Certificate } from '../../x509/certificate.ts';
import { parseCrls } from '../../x509/crl.ts';
import { refuseRevoked, requireCurrentCrl, verifyCrlsOf } from '../../x509/revocation.ts';

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
  const crls = await verifyCrlsOf(ark, lists, crypto);
  refuseRevoked(crls, issued, now);
  const current = requireCurrentCrl(crls, now);
  if (current) {
    return { status: 'not-revoked', thisUpdate: current.thisUpdate, nextUpdate: current.nextUpdate };
  }
  if (options.revocation === 'when-present') return { status: 'not-supplied' };
  throw new Refusal('COLLATERAL_MISSING', `the policy requires a CRL of ${ark.subject}`);
}
