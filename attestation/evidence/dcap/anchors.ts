import type { Anchor } from '../../anchors.ts';

/** Intel's root key (ECDSA P-256) of PCK certificates and of the statements on them; sources are in the README. */
export const INTEL_ANCHORS: readonly Anchor[] = [
  {
    role: 'intel-sgx-root',
    name: 'Intel SGX Root CA',
    spkiSha256: 'a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e',
    simulated: false,
    published: {
      notBefore: '2018-05-21T10:45:10Z',
      notAfter: '2049-12-31T23:59:59Z',
      source:
        'Intel, https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.pem; the same certificate in 14 public repositories',
    },
  },
];
