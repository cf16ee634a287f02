import type { Anchor } from '../../anchors.ts';

/** Root keys for virtual TPMs, all RSA-4096; sources are in the README beside this file. */
export const TPM_ANCHORS: readonly Anchor[] = [
  {
    role: 'gcp-vtpm',
    name: 'Google EK/AK CA Root',
    spkiSha256: '56a613f57126a385dd6949294e93b0b566f96ab0573be0c2368e6f5ca779831f',
    simulated: false,
    published: {
      notBefore: '2022-07-08T00:40:34Z',
      notAfter: '2122-07-08T05:57:23Z',
      source: 'google/go-tpm-tools, server/ca-certs/gcp_ek_ak_ca_root.crt; the same DER in 5 repositories',
    },
  },
  {
    role: 'gcp-vtpm',
    name: 'Google tpm_ek_v1_cloud_host_root 2018',
    spkiSha256: 'f23057f4f97d1d90e4cae0ce91d5a0fc99069f0a1bc147021dca33b1e9c4d0d9',
    simulated: false,
    published: {
      notBefore: '2018-04-06T17:58:26Z',
      notAfter: '2118-04-06T18:58:26Z',
      source: 'google/go-tpm-tools, server/ca-certs/tpm_ek_root_1.cer',
    },
  },
  {
    role: 'azure-vtpm',
    name: 'Azure Virtual TPM Root Certificate Authority 2023',
    spkiSha256: '5cbc52672ae101263c2976736044a964c1182ce9412c39937183baddcccb8cdf',
    simulated: false,
    published: {
      notBefore: '2023-06-01T18:08:53Z',
      notAfter: '2048-06-01T18:15:41Z',
      source: 'the same DER in openpcc/openpcc and flashbots/attested-tls',
    },
  },
  {
    role: 'azure-vtpm',
    name: 'Microsoft RSA Devices Root CA 2021',
    spkiSha256: 'd61ed293962f1f6ceb26ea9ec1c5a8c6cab38e73671f27c22df90e47977707ff',
    simulated: false,
    published: {
      notBefore: '2021-08-26T23:39:18Z',
      notAfter: '2046-08-26T23:47:14Z',
      source: 'flashbots/attested-tls, crates/attestation/assets',
    },
  },
];
