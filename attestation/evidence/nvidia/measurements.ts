import { equalBytes } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check } from '../../checks.ts';
import { NVDEC0_INDEX } from './indices.ts';
import type { DeviceReport } from './parse.ts';
import type { VerifiedRim } from './rim.ts';
import type { Manifest } from './swid.ts';

const ID = 'device.measurements';

/** Values to compare with, by RIM index. */
export type ReferenceSource = Pick<Manifest, 'measurements'>;

/** The manifests that a device was judged by, and what was wanting. */
export interface UsableReferences {
  /** Verified, and for this device. */
  readonly usable: readonly VerifiedRim[];
  /** Ids of manifests that were not supplied. */
  readonly missing: readonly string[];
  /** False where a manifest is missing or was refused. */
  readonly complete: boolean;
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
export function compareMeasurements(report: DeviceReport, sources: readonly ReferenceSource[]): Comparison {
  const active = sources.flatMap(({ measurements }) =>
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

/** The failed check of a comparison that contradicts the device; undefined where nothing does. */
export function contradiction(
  { equal, mismatched, conflicting }: Comparison,
  subject: string,
): Check | undefined {
  if (conflicting.length > 0) {
    const reason = `there are values of two sources for index ${conflicting.join(', ')}`;
    return fail(ID, subject, 'MEASUREMENT_MISMATCH', reason);
  }
  if (mismatched.length === 0) return undefined;
  const reason = `index ${mismatched.join(', ')} differs from the reference values, ${equal.length} are equal`;
  return fail(ID, subject, 'MEASUREMENT_MISMATCH', reason);
}

/** The check of manifests that are missing or were refused; undefined where none is. */
export function wanting({ missing, complete }: UsableReferences, subject: string): Check | undefined {
  if (missing.length > 0) {
    return fail(ID, subject, 'REFERENCE_VALUES_MISSING', `no reference values: ${missing.join(', ')}`);
  }
  return complete
    ? undefined
    : skip(ID, subject, 'NOT_REACHED', 'not reached: reference values were refused');
}

/** Text of what was compared and left out, for a reason. */
export function skippedText({ skipped }: Comparison): string {
  return skipped.length > 0 ? `, index ${skipped.join(', ')} not judged as NVDEC0 is off` : '';
}

/** A mismatch fails even where a manifest is missing: what is known is enough to refuse. */
export function checkMeasurements(
  report: DeviceReport,
  references: UsableReferences,
  subject: string,
): Check {
  const comparison = compareMeasurements(report, references.usable);
  const failed = contradiction(comparison, subject) ?? wanting(references, subject);
  if (failed) return failed;
  if (comparison.equal.length === 0) {
    return fail(ID, subject, 'REFERENCE_VALUES_MISSING', 'the manifests have no active reference values');
  }
  const found = `${comparison.equal.length} measurements equal the reference values`;
  return pass(ID, subject, `${found}${skippedText(comparison)}`);
}
