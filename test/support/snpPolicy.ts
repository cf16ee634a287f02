import type { SnpPolicy } from '../../attestation/policy/snp.ts';
import { CORPUS_SNP } from '../../scripts/corpus/cpu/policy.ts';

/** Accepts whatever verifies: every member is as loose as the schema allows. */
export const LAX_SNP_POLICY: SnpPolicy = { ...CORPUS_SNP, debug: 'accepted' };
