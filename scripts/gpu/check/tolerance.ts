import type { LoadedModel, TensorSpec } from '../../../src/engine/engine.ts';

export type Precision = 'exact' | 'FP32' | 'FP16';

/** By how much two computations of the same thing may differ. */
export interface Tolerance {
  readonly precision: Precision;
  /** Difference of two values, as a share of the largest magnitude. */
  readonly share: number;
  /** Least cosine of two vectors. */
  readonly cosine: number;
  /** Difference of two natural logarithms of probabilities. */
  readonly logprob: number;
}

/** FP32 sums in another order lose a few of 24 bits; FP16 rounds every value to 11. The engine never takes TF32. */
export const TOLERANCES: Readonly<Record<Precision, Tolerance>> = {
  exact: { precision: 'exact', share: 0, cosine: 1, logprob: 0 },
  FP32: { precision: 'FP32', share: 1e-3, cosine: 0.99999, logprob: 5e-3 },
  FP16: { precision: 'FP16', share: 3e-2, cosine: 0.999, logprob: 0.15 },
};

const REDUCED_FILE = /(?:^|[_.-])(?:fp16|bf16|q4|q4f16|int4|int8|uint8|bnb4|quantized)(?=[_.-])/i;

/** The tolerance for one model. The same provider on the same machine has no reason for any difference. */
export function toleranceOf(
  model: Pick<LoadedModel, 'inputs' | 'outputs'>,
  files: readonly string[],
  provider: 'cpu' | 'cuda',
): Tolerance {
  if (provider === 'cpu') return TOLERANCES.exact;
  const isHalf = ({ datatype }: TensorSpec): boolean => datatype === 'FP16';
  const reduced = [...model.inputs, ...model.outputs].some(isHalf) || files.some((f) => REDUCED_FILE.test(f));
  return reduced ? TOLERANCES.FP16 : TOLERANCES.FP32;
}
