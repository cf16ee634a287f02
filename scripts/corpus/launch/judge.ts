import { Refusal } from '../../../attestation/errors.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { PredictError } from '../../../enclave/predict/errors.ts';
import { computeAuthenticode, computeMeasuredBoot } from './boot.ts';
import type { LaunchCase } from './case.ts';
import { type Computed, NotComputable } from './inputs.ts';
import { computeCpuSignatures, computeIdBlock, computePages, computeSevLaunch } from './snp.ts';
import {
  computeKernelPatch,
  computeMrtd,
  computeTdHob,
  computeTdRegisters,
  mismatchedRegisters,
} from './tdx.ts';

/** What came of one case. */
export interface LaunchJudgement {
  readonly id: string;
  readonly expected: string;
  readonly got: 'computed' | 'refuse' | 'not computable';
  readonly codes: readonly string[];
  /** Why it is refused or cannot be computed, or where it differs. */
  readonly reason: string | undefined;
  readonly agrees: boolean;
  /** How many values were compared. */
  readonly compared: number;
  /** What nothing here says, with the reason. */
  readonly left: readonly string[];
}

type Compute = (launch: LaunchCase, crypto: CryptoProvider) => Computed;

/** By an input that only these cases have; the first that is there. */
const COMPUTE: readonly (readonly [input: string, compute: Compute])[] = [
  ['mode', computeSevLaunch],
  ['pageType', computePages],
  ['launchDigestBase64', computeIdBlock],
  ['models', computeCpuSignatures],
  ['image', computeAuthenticode],
  ['uki', computeMeasuredBoot],
  ['directBoot', computeMeasuredBoot],
  ['initrdSize', computeKernelPatch],
  ['firmware', computeMrtd],
  ['firmwarePackage', computeMrtd],
];

/** Computes what a case expects, and compares. */
export function judgeLaunchCase(launch: LaunchCase, crypto: CryptoProvider): LaunchJudgement {
  const { id, verdict, reasons } = launch;
  const expected = [verdict, reasons.join(' or ')].filter(Boolean).join(' ');
  const judged = { id, expected, compared: 0, left: [], codes: [], reason: undefined } as const;
  try {
    if (reasons.includes('RTMR_MISMATCH')) return judgeLog(launch, judged, crypto);
    const { comparisons, left } = computeOf(launch)(launch, crypto);
    const different = comparisons.filter((one) => one.expected !== one.got);
    return {
      ...judged,
      got: 'computed',
      agrees: verdict !== 'refuse' && different.length === 0 && comparisons.length > 0,
      compared: comparisons.length,
      left,
      reason: different.map(({ what, got }) => `${what} is ${String(got)}`).join('; ') || undefined,
    };
  } catch (error) {
    if (error instanceof NotComputable) {
      return { ...judged, got: 'not computable', agrees: false, reason: error.message };
    }
    if (!(error instanceof PredictError) && !(error instanceof Refusal)) throw error;
    const agrees = verdict === 'refuse' && reasons.includes(error.code);
    return { ...judged, got: 'refuse', codes: [error.code], agrees, reason: error.message };
  }
}

function computeOf(launch: LaunchCase): Compute {
  const [, compute] = COMPUTE.find(([input]) => input in launch.inputs) ?? [];
  if (compute) return compute;
  return 'quote.bin' in Object.fromEntries(launch.files) ? computeTdRegisters : computeTdHob;
}

/** A log that does not lead to the registers of the quote beside it. */
function judgeLog(
  launch: LaunchCase,
  judged: Omit<LaunchJudgement, 'got' | 'agrees'>,
  crypto: CryptoProvider,
): LaunchJudgement {
  const registers = mismatchedRegisters(launch, crypto);
  const agrees = JSON.stringify(registers) === JSON.stringify(launch.expected['registers']);
  const reason = `the log does not lead to ${registers.map((index) => `RTMR${index}`).join(', ') || 'none'}`;
  const got = registers.length > 0 ? 'refuse' : 'computed';
  return {
    ...judged,
    got,
    codes: registers.length > 0 ? ['RTMR_MISMATCH'] : [],
    agrees,
    reason,
    compared: 1,
  };
}
