import type { EvidenceDocument } from '../../attestation/evidence/document.ts';
import type { CpuPolicy } from '../../attestation/policy/cpu.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import type { NitroPolicy } from '../../attestation/policy/nitro.ts';
import type { Policy } from '../../attestation/policy/policy.ts';

/** What a default has to say of an enclave: whose image it is, only its operator knows. */
const ANY_ENCLAVE: NitroPolicy = {
  moduleIds: 'any',
  maximumAgeSeconds: 'any',
  debug: 'refused',
  measurements: [],
};

type Hardware = Pick<EvidenceDocument, 'cpu' | 'devices'>;

/**
 * What the service demands of its own evidence where its operator wrote no policy: the published default, by which
 * clients judge, with exactly these devices. It names no measurement of software, so that none is judged. Simulated
 * hardware is accepted where it was configured, and then nothing else is. A TPM of the host alone is refused: only a
 * policy in words accepts it.
 */
export function defaultSelfCheckPolicy({ cpu, devices }: Hardware, simulated: boolean): Policy {
  const policy = simulated ? SIMULATED_POLICY : DEFAULT_POLICY;
  const nitro: Pick<CpuPolicy, 'nitro'> =
    cpu.platform === 'nitro' && !simulated ? { nitro: ANY_ENCLAVE } : { nitro: 'refused' };
  return {
    ...policy,
    description: 'What a service demands of its own evidence where nobody wrote a policy for it.',
    simulated: policy.simulated.filter((component) => component === 'cpu' || devices.length > 0),
    nonce: 'optional',
    cpu: { ...policy.cpu, ...nitro },
    devices: exactly(policy.devices, devices),
  };
}

/** An operator's policy is one for clients, who send nonces: some documents are made for nobody's. */
export function ownSelfCheckPolicy(policy: Policy): Policy {
  return { ...policy, nonce: 'optional' };
}

function exactly(policy: Policy['devices'], devices: Hardware['devices']): Policy['devices'] {
  if (policy === 'none' || devices.length === 0) return 'none';
  const count = (wanted: 'gpu' | 'switch') => {
    const found = devices.filter(({ kind }) => kind === wanted).length;
    return { minimum: found, maximum: found };
  };
  return { ...policy, gpus: count('gpu'), switches: count('switch') };
}
