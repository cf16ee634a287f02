import type { Anchor } from '../../anchors.ts';

/**
 * Published root keys of NVIDIA. Two certificates of the device root exist with one name and key, so the key is
 * pinned, not a certificate. The device key must not verify manifests, nor the manifest key devices.
 */
export const NVIDIA_ANCHORS: readonly Anchor[] = [
  {
    role: 'nvidia-device',
    name: 'NVIDIA Device Identity CA',
    spkiSha256: 'a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4',
    simulated: false,
    published: {
      notBefore: '2021-11-05T00:00:00Z',
      notAfter: '9999-12-31T23:59:59Z',
      source: 'the same file in NVIDIA/nvtrust, NVIDIA/attestation-sdk and google/go-nvattest-tools',
    },
  },
  {
    role: 'nvidia-rim',
    name: 'NVIDIA CoRIM signing Root CA',
    spkiSha256: 'dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3',
    simulated: false,
    published: {
      notBefore: '2023-03-16T15:37:34Z',
      notAfter: '2053-03-08T15:37:34Z',
      source: 'the same file in NVIDIA/nvtrust, NVIDIA/attestation-sdk and google/go-nvattest-tools',
    },
  },
];
