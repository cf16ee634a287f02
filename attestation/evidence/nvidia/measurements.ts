import { equalBytes } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check } from '../../checks.ts';
import type { DeviceReport } from './parse.ts';
import type { VerifiedRim } from './rim.ts';

/** Measures the microcode of NVDEC0. With the engine off the value is undefined and is not judged. */
const NVDEC0_INDEX = 35;
const ID = 'device.measurements';

/** The manifests that a device was judged by, and what was wanting. */
export interface UsableReferences {
  /** Verified, and for this device. */
  readonly usable: readonly VerifiedRim[];
  /** Ids of manifests that were not supplied. */
  readonly missing: readonly string[];
}

/** What comparing a report with manifests gave, as RIM indices. */
export interface Comparison {
  readonly equal: readonly number[];
  readonly mismatched: readonly number[];
  /** Active in more than one manifest. */
  readonly conflicting: readonly number[];
  readonly skipped: readonly number[];
}

/** Compares each active reference value with the measurement of its index. Other indices carry no meaning. */
export function compareMeasurements(report: DeviceReport, rims: readonly VerifiedRim[]): Comparison {
  const active = rims.flatMap(({ measurements }) =>
    [...measurements].filter(([, { active }]) => active).sort(([a], [b]) => a - b),
  );
  const seen = new Map<number, number>();
  for (const [index] of active) seen.set(index, (seen.get(index) ?? 0) + 1);
  const conflicting = [...seen].flatMap(([index, times]) => (times > 1 ? [index] : []));
  const isSkipped = (index: number) => report.kind === 'gpu' && !report.nvdec0 && index === NVDEC0_INDEX;
  const judged = active.filter(([index]) => !isSkipped(index) && !conflicting.includes(index));
  const matches = judged.map(([index, { alternatives }]) => {
    const measured = report.measurements[index];
    return {
      index,
      equal: measured !== undefined && alternatives.some((value) => equalBytes(value, measured)),
    };
  });
  return {
    equal: matches.filter(({ equal }) => equal).map(({ index }) => index),
    mismatched: matches.filter(({ equal }) => !equal).map(({ index }) => index),
    conflicting,
    skipped: active.map(([index]) => index).filter(isSkipped),
  };
}

/** A mismatch fails even where a manifest is missing: what is known is enough to refuse. */
export function checkMeasurements(
  report: DeviceReport,
  { usable, missing }: UsableReferences,
  complete: boolean,
  subject: string,
): Check {
  const { equal, mismatched, conflicting, skipped } = compareMeasurements(report, usable);
  if (conflicting.length > 0) {
    const reason = `both manifests have values for index ${conflicting.join(', ')}`;
    return fail(ID, subject, 'MEASUREMENT_MISMATCH', reason);
  }
  if (mismatched.length > 0) {
    const reason = `index ${mismatched.join(', ')} differs from the reference values, ${equal.length} are equal`;
    return fail(ID, subject, 'MEASUREMENT_MISMATCH', reason);
  }
  if (missing.length > 0) {
    return fail(ID, subject, 'REFERENCE_VALUES_MISSING', `no reference values: ${missing.join(', ')}`);
  }
  if (!complete) return skip(ID, subject, 'NOT_REACHED', 'not reached: reference values were refused');
  if (equal.length === 0) {
    return fail(ID, subject, 'REFERENCE_VALUES_MISSING', 'the manifests have no active reference values');
  }
  const off = skipped.length > 0 ? `, index ${skipped.join(', ')} not judged as NVDEC0 is off` : '';
  return pass(ID, subject, `${equal.length} measurements equal the reference values${off}`);
}
