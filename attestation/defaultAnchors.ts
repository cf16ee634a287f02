import type { Anchor } from './anchors.ts';
import { INTEL_ANCHORS } from './evidence/dcap/anchors.ts';
import { AWS_ANCHORS } from './evidence/nitro/anchors.ts';
import { NVIDIA_ANCHORS } from './evidence/nvidia/anchors.ts';
import { SIMULATED_ANCHORS } from './evidence/simulatedAnchors.ts';
import { AMD_ANCHORS } from './evidence/snp/anchors.ts';
import { TPM_ANCHORS } from './evidence/tpm/anchors.ts';

/**
 * The published trust anchors: the vendors' and, known by name as worthless, our simulated ones. A verdict is
 * accepted over a simulated anchor only where the policy names the component.
 */
export const DEFAULT_ANCHORS: readonly Anchor[] = [
  ...AMD_ANCHORS,
  ...INTEL_ANCHORS,
  ...AWS_ANCHORS,
  ...TPM_ANCHORS,
  ...NVIDIA_ANCHORS,
  ...SIMULATED_ANCHORS,
];
