import { CORPUS_SGX, CORPUS_TDX } from '../../scripts/corpus/cpu/policy.ts';

/** That of the corpus: debug off and firmware up to date, everything else as it comes. */
export const LAX_TDX = CORPUS_TDX;

/** The same for enclaves. */
export const LAX_SGX = CORPUS_SGX;
