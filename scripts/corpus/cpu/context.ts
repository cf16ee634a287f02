import type { Anchor, AnchorRole } from '../../../attestation/anchors.ts';
import { NO_COLLATERAL, type Collateral, type SignedJson } from '../../../attestation/collateral.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import { readVekCertificate } from '../../../attestation/evidence/snp/certificate.ts';
import { parseCertificate } from '../../../attestation/x509/certificate.ts';
import { spkiSha256 } from '../../../attestation/x509/chain.ts';
import { certificatesIn, type CaseFiles } from '../files.ts';
import { CORPUS_POLICY } from './policy.ts';

/** Cases without an instant are judged at this one: nothing in them has a validity. */
const ANY_TIME = Date.parse('2026-01-01T00:00:00Z');

/** What the caller of the verifier brings for a case: anchors, collateral, time, and the policy of the corpus. */
export function contextOf(
  files: CaseFiles,
  at: number | undefined,
  crypto: CryptoProvider,
): AppraisalContext {
  return {
    policy: CORPUS_POLICY,
    anchors: [...DEFAULT_ANCHORS, ...injectedAnchors(files, crypto)],
    collateral: collateralOf(files),
    now: at ?? ANY_TIME,
    crypto,
  };
}

/** A case with its own PKI names its root; it is trusted for that case, as simulated. */
function injectedAnchors(files: CaseFiles, crypto: CryptoProvider): readonly Anchor[] {
  return files.byRole(/^trust anchor to inject/).flatMap(({ bytes }) =>
    certificatesIn(bytes).map((der) => {
      const spki = spkiSha256(parseCertificate(der), crypto);
      const anchor = { name: 'injected by the case', spkiSha256: spki, simulated: true };
      const vek = files.certificates('vcek.der', 'vcek.pem', 'vlek.der', 'vlek.pem')[0];
      if (!vek) return { ...anchor, role: 'intel-sgx-root' satisfies AnchorRole };
      const { product } = readVekCertificate(parseCertificate(vek));
      return { ...anchor, role: 'amd-ark' satisfies AnchorRole, product };
    }),
  );
}

function collateralOf(files: CaseFiles): Collateral {
  const tcbInfo = files.find('tcb_info.json', 'tcbInfo.json');
  const qeIdentity = files.find('qe_identity.json', 'qeIdentity.json');
  const tcbChain = files.certificates('tcb_info_issuer_chain.pem', 'tcbSignChain.pem');
  const qeChain = files.certificates('qe_identity_issuer_chain.pem');
  return {
    ...NO_COLLATERAL,
    crls: files.byName(/crl(?:\.der)?$/i).map(({ bytes }) => bytes),
    certificates: completing(files),
    tcbInfos: signed(tcbInfo, tcbChain),
    qeIdentities: signed(qeIdentity, qeChain.length > 0 ? qeChain : tcbChain),
  };
}

function signed(body: Uint8Array | undefined, issuerChain: readonly Uint8Array[]): readonly SignedJson[] {
  return body ? [{ body, issuerChain }] : [];
}

/** Those of the case; one that brings a root of its own is judged without those that the corpus shares. */
function completing(files: CaseFiles): readonly Uint8Array[] {
  const bringsRoot = files.byName(/root.*\.(?:crt|cer|der|pem)$/i).some(({ path }) => !/crl/i.test(path));
  return bringsRoot ? supplied(files) : [...supplied(files), ...files.authorities];
}

function supplied(files: CaseFiles): readonly Uint8Array[] {
  const names = /^(?:pckCert\.pem|pckSignChain\.pem|.*intermediate.*|.*root.*\.(?:crt|cer|der|pem))$/i;
  return files
    .byName(names)
    .filter(({ path }) => !/crl/i.test(path))
    .flatMap(({ bytes }) => certificatesIn(bytes));
}
