import { findAnchor, type Anchor } from '../../anchors.ts';
import { equalBytes } from '../../bytes/bytes.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { parseCertificate, type Certificate } from '../../x509/certificate.ts';
import { spkiSha256 } from '../../x509/chain.ts';
import { readChain, type CertificationData } from './certificationData.ts';
import { SGX_EXTENSION } from './pck.ts';
import type { PckChain } from './revocation.ts';

const CHAIN_CERTIFICATES = 3;
/** More than these would only serve to make the verifier work. */
const MAX_SUPPLIED = 64;

export interface PckChainOptions {
  readonly crypto: CryptoProvider;
  readonly anchors: readonly Anchor[];
  /** DER certificates of any kind, used only where the quote carries none. */
  readonly supplied: readonly Uint8Array[];
}

/**
 * Finds the chain of three and pins its root by key. The pin comes before any signature: a look-alike root with
 * Intel's names is refused before anything it signed is looked at. The links are still to be verified.
 */
export function pinPckChain(
  certification: CertificationData,
  options: PckChainOptions,
): { readonly chain: PckChain; readonly anchor: Anchor } {
  const carried = readChain(certification);
  const chain = carried ? arrangeCarried(carried) : arrangeSupplied(certification, options);
  const spki = spkiSha256(chain.root, options.crypto);
  const anchor = findAnchor(options.anchors, 'intel-sgx-root', spki);
  if (!anchor) {
    throw new Refusal(
      'UNTRUSTED_ROOT',
      `the chain ends in ${chain.root.subject} with key ${spki}, which is not pinned`,
    );
  }
  return { chain, anchor };
}

function arrangeCarried(certificates: readonly Certificate[]): PckChain {
  if (certificates.length < CHAIN_CERTIFICATES) {
    throw new Refusal(
      'CERT_MISSING',
      `PCK, CA and root certificates are needed, the quote carries ${certificates.length}`,
    );
  }
  const chain = arrange(certificates, isIssuerOf);
  if (chain) return chain;
  throw new Refusal(
    'CERT_CHAIN_INVALID',
    'the certificates of the quote are not a PCK, its CA and their root',
  );
}

/** Of roots with one name a pinned one is taken: collateral of several sources may hold a look-alike. */
function arrangeSupplied({ type }: CertificationData, options: PckChainOptions): PckChain {
  if (options.supplied.length > MAX_SUPPLIED) {
    throw new Refusal('MALFORMED', `more than ${MAX_SUPPLIED} certificates are supplied`);
  }
  const certificates = options.supplied.map(parseCertificate);
  const isPinned = (certificate: Certificate) =>
    findAnchor(options.anchors, 'intel-sgx-root', spkiSha256(certificate, options.crypto)) !== undefined;
  const chain =
    arrange(certificates, (issuer, issued) => isIssuerOf(issuer, issued) && isPinned(issuer)) ??
    arrange(certificates, isIssuerOf);
  if (chain) return chain;
  throw new Refusal(
    'CERT_MISSING',
    `certification data of type ${type} carries no certificates, and the collateral has no PCK chain`,
  );
}

/** The order is found by extension and names, as Intel's library does: its own samples do not put the leaf first. */
function arrange(
  certificates: readonly Certificate[],
  isRootOf: (root: Certificate, ca: Certificate) => boolean,
): PckChain | undefined {
  const pck = certificates.find(({ extensions }) => extensions.has(SGX_EXTENSION));
  const ca = pck && certificates.find((candidate) => candidate !== pck && isIssuerOf(candidate, pck));
  const root = ca && certificates.find((candidate) => candidate !== ca && isRootOf(candidate, ca));
  return root && { pck, ca, root };
}

function isIssuerOf(issuer: Certificate, { issuerName }: Certificate): boolean {
  return equalBytes(issuer.subjectName, issuerName);
}
