import type { Anchor } from '../../anchors.ts';

/** The root of the AWS Nitro Attestation PKI for the commercial partition (P-384); the README has its sources. */
export const AWS_ANCHORS: readonly Anchor[] = [
  {
    role: 'aws-nitro',
    name: 'AWS Nitro Enclaves Root G1',
    spkiSha256: 'f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225',
    simulated: false,
    published: {
      notBefore: '2019-10-28T13:28:05Z',
      notAfter: '2049-10-28T14:28:05Z',
      source: 'https://aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip',
    },
  },
];
