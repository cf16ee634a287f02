import type { Policy } from './policy.ts';
import { SIMULATED_MEASUREMENT } from '../evidence/simulatedAnchors.ts';

/** Real hardware, nothing in debug, everything covered. It names no measurement: a relying party adds its own. */
export const DEFAULT_POLICY: Policy = {
  version: 'vouchsafe/policy/1',
  description:
    'Published default: an AMD SEV-SNP guest with one to eight NVIDIA GPUs. Add the launch measurements that you expect.',
  simulated: [],
  nonce: 'required',
  cpu: {
    snp: {
      products: ['milan', 'genoa', 'turin'],
      endorsementKeys: ['vcek', 'vlek'],
      debug: 'refused',
      migration: 'refused',
      smt: 'accepted',
      vmpls: [0],
      minimumTcb: 'any',
      chipIds: 'any',
      measurements: [],
      revocation: 'required',
    },
  },
  devices: {
    gpus: { minimum: 1, maximum: 8 },
    switches: { minimum: 0, maximum: 4 },
    nvidia: {
      architectures: ['hopper', 'blackwell', 'ls10'],
      modes: ['spt', 'mpt', 'ppcie'],
      minimumDriver: 'any',
      serials: 'any',
      firmwareId: 'when-present',
      revocation: 'not-checked',
    },
  },
  models: 'any',
  channels: ['tls', 'hpke', 'plain'],
  outcomes: ['complete'],
  coverage: 'required',
  witnesses: 'none',
};

/** What `--allow-simulated` means: the default, but for exactly our simulated CPU and GPU. For development only. */
export const SIMULATED_POLICY: Policy = {
  ...DEFAULT_POLICY,
  description: 'Accepts simulated hardware, which protects nothing. For development only.',
  simulated: ['cpu', 'gpu'],
  cpu: {
    snp: {
      products: ['genoa'],
      endorsementKeys: ['vcek'],
      debug: 'refused',
      migration: 'refused',
      smt: 'accepted',
      vmpls: [0],
      minimumTcb: 'any',
      chipIds: 'any',
      measurements: [{ name: 'simulated launch', value: SIMULATED_MEASUREMENT }],
      revocation: 'required',
    },
  },
  coverage: 'warning',
};
