import { createHash } from 'node:crypto';
import { DEFAULT_POLICY, DEFAULT_VTPM } from '../../attestation/policy/defaults.ts';
import type { Policy } from '../../attestation/policy/policy.ts';

/**
 * What the image is configured with: evidence of the TPM alone, whose certificates are in an NV index of it. It demands
 * of itself that the TPM is one of the authority's; what was booted its clients compare, as no image holds its own
 * digest.
 */
export function imageConfig(anchor: string, apiKey: string): Readonly<Record<string, unknown>> {
  return {
    server: { port: 8080 },
    keys: { apiKeys: [{ name: 'vm', sha256: createHash('sha256').update(apiKey).digest('hex') }] },
    engine: { provider: 'cpu', threads: 1 },
    hardware: { collector: 'tpm', devices: 'none', tpmCertificates: 'nv:0x01c10002' },
    selfCheck: { policy: ownPolicy(), anchors: [`tpm:${anchor}`] },
  };
}

function ownPolicy(): Policy {
  const { cpu } = DEFAULT_POLICY;
  return {
    ...DEFAULT_POLICY,
    description: 'A TPM of an emulated machine, whatever was booted.',
    cpu: { ...cpu, tpm: { ...DEFAULT_VTPM, pcrs: 'any' } },
    devices: 'none',
  };
}
