import { DEFAULT_POLICY } from '../../../attestation/policy/defaults.ts';
import { DEFAULT_NRAS_POLICY, type NrasPolicy } from '../../../attestation/policy/nras.ts';
import type { NvidiaPolicy } from '../../../attestation/policy/nvidia.ts';
import type { Policy } from '../../../attestation/policy/policy.ts';

/** What the corpus leaves open is accepted, so that a refusal has the reason that the case states. */
const CORPUS_NVIDIA: NvidiaPolicy = {
  architectures: ['hopper', 'blackwell', 'ls10'],
  chips: 'any',
  modes: ['spt', 'mpt', 'ppcie'],
  minimumOpaqueVersion: 0,
  topology: 'any',
  minimumDriver: 'any',
  minimumVbios: 'any',
  serials: 'any',
  firmwareId: 'when-present',
  pinnedMeasurements: [],
  revocation: 'not-checked',
};

const ANY_NUMBER = { minimum: 0, maximum: 64 };

/** The policy for the devices of a case. What it does not say stays that of the published default. */
export function devicePolicy(asked: Pick<NvidiaPolicy, 'topology' | 'revocation'>): Policy {
  const nvidia = { ...CORPUS_NVIDIA, ...asked };
  return { ...DEFAULT_POLICY, devices: { gpus: ANY_NUMBER, switches: ANY_NUMBER, nvidia } };
}

/** A case asks for the OCSP responses that it brings. They carry no nonce and live a day: no tolerance is needed. */
export function revocationPolicy(asked: {
  readonly deviceOcsp: boolean;
  readonly referenceOcsp: boolean;
}): NvidiaPolicy['revocation'] {
  if (!asked.deviceOcsp && !asked.referenceOcsp) return 'not-checked';
  const demand = (isAsked: boolean) => (isAsked ? 'required' : 'when-present');
  return {
    device: demand(asked.deviceOcsp),
    references: demand(asked.referenceOcsp),
    hold: 'refused',
    toleranceSeconds: 0,
  };
}

/** Cases are judged at an instant within the life of their tokens, not within ten minutes. */
export const CORPUS_NRAS: NrasPolicy = { ...DEFAULT_NRAS_POLICY, maximumAgeSeconds: 'any' };
