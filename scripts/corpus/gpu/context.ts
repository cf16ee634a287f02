import type { Anchor } from '../../../attestation/anchors.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { NVIDIA_ANCHORS } from '../../../attestation/evidence/nvidia/anchors.ts';
import { parseCertificate } from '../../../attestation/x509/certificate.ts';
import { spkiSha256 } from '../../../attestation/x509/chain.ts';
import { certificatesIn } from '../files.ts';
import { filesOf, type Material } from './material.ts';
import { ROLES } from './roles.ts';

/** NVIDIA's keys and, for that case alone, those of a case with an authority of its own. */
export function anchorsOf(material: Material, crypto: CryptoProvider): readonly Anchor[] {
  const injected = (['nvidia-device', 'nvidia-rim'] as const).flatMap((role) =>
    filesOf(material, [`trust anchor to inject (${role === 'nvidia-device' ? 'device' : 'RIM'})`]).flatMap(
      ({ bytes }) => anchorsIn(bytes, role, crypto),
    ),
  );
  return [...NVIDIA_ANCHORS, ...injected];
}

/** Keys that a case names as those that must verify nothing, as if a caller trusted them. */
export function wrongAnchorsOf(material: Material, crypto: CryptoProvider): readonly Anchor[] {
  return filesOf(material, [ROLES.NOT_AN_ANCHOR]).flatMap(({ bytes }) =>
    anchorsIn(bytes, 'nvidia-rim', crypto),
  );
}

function anchorsIn(file: Uint8Array, role: Anchor['role'], crypto: CryptoProvider): readonly Anchor[] {
  const certificates = certificatesIn(file);
  if (certificates.length === 0) throw new Error('a trust anchor of the case is no certificate');
  return certificates.map((der) => ({
    role,
    name: 'named by the case',
    spkiSha256: spkiSha256(parseCertificate(der), crypto),
    simulated: true,
  }));
}
