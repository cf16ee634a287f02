import { fromHex, isZero, toHex } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check, type CheckId } from '../../checks.ts';
import type { NvidiaPolicy, PinnedMeasurements } from '../../policy/policy.ts';
import type { ChipName } from './certificates.ts';
import { indexText, JUDGED_INDICES, NVDEC0_INDEX, requiredIndices } from './indices.ts';
import {
  compareMeasurements,
  contradiction,
  skippedText,
  wanting,
  type ReferenceSource,
  type UsableReferences,
} from './measurements.ts';
import type { DeviceReport } from './parse.ts';
import type { VerifiedDevice } from './verify.ts';

const ID = 'device.measurements';
const UNPUBLISHED = 'pinned by policy, not published by NVIDIA';

/** The sets of the policy that are for this chip and these versions. */
export function pinnedSetsFor(
  { chip, report }: Pick<VerifiedDevice, 'chip' | 'report'>,
  { pinnedMeasurements }: Pick<NvidiaPolicy, 'pinnedMeasurements'>,
): readonly PinnedMeasurements[] {
  return pinnedMeasurements.filter((set) => set.chip === chip && fits(set, report));
}

function fits(set: PinnedMeasurements, report: DeviceReport): boolean {
  if (report.kind === 'switch') {
    return set.kind === 'switch' && sameText(set.vbiosVersion, report.biosVersion);
  }
  if (set.kind !== 'gpu' || !sameText(set.vbiosVersion, report.vbiosVersion)) return false;
  return !coversDriver(set) || sameText(set.driverVersion, report.driverVersion);
}

function sameText(a: string, b: string): boolean {
  return a.toUpperCase() === b.toUpperCase();
}

/** Whether the set stands in for the driver manifest, too. */
export function coversDriver(set: PinnedMeasurements): set is PinnedMeasurements & { kind: 'gpu' } {
  return set.kind === 'gpu' && set.driverVersion !== 'published';
}

/** In the place of a manifest that is not looked at: a skip, for what the policy says is no pass of the vendor. */
export function pinnedReference(id: CheckId, set: PinnedMeasurements, subject: string): Check {
  return skip(id, subject, 'NOT_REQUIRED', `no manifest is judged: values «${set.name}» are ${UNPUBLISHED}`);
}

/**
 * Judges a device by pinned values, and by the driver manifest where the set leaves the driver to it. A set that
 * leaves out what such a device measures proves too little: then reference values are missing.
 */
export function checkPinned(
  device: Pick<VerifiedDevice, 'chip' | 'report'>,
  set: PinnedMeasurements,
  manifests: UsableReferences,
  subject: string,
): Check {
  const { report } = device;
  const sources = [sourceOf(set), ...manifests.usable];
  const comparison = compareMeasurements(report, sources);
  const failed = contradiction(comparison, subject) ?? wanting(manifests, subject);
  const named = `«${set.name}» (${UNPUBLISHED})`;
  if (failed) return { ...failed, reason: `${failed.reason}; judged by ${named}` };
  const uncovered = uncoveredIndices(device, set, sources);
  if (uncovered.length > 0) {
    const reason = `${named} has no values for index ${indexText(uncovered)}`;
    return fail(ID, subject, 'REFERENCE_VALUES_MISSING', reason);
  }
  const judged = [...comparison.equal, ...comparison.skipped];
  const others = report.measurements.flatMap((_, index) => (judged.includes(index) ? [] : [index]));
  const found = `${comparison.equal.length} measurements (index ${indexText(comparison.equal)}) equal ${named}`;
  const left = others.length > 0 ? `; index ${indexText(others)} not judged` : '';
  return pass(ID, subject, `${found}${skippedText(comparison)}${left}`);
}

function sourceOf({ values }: PinnedMeasurements): ReferenceSource {
  const measurements = Object.entries(values).map(
    ([index, alternatives]) =>
      [Number(index), { active: true, alternatives: alternatives.map(fromHex) }] as const,
  );
  return { measurements: new Map(measurements) };
}

/**
 * Indices that nothing judges though something must: those that manifests of the chip judge, and NVDEC0 where the
 * engine is on. Where no manifest of the chip was seen, nobody can say which values may vary, so every one that is
 * not zero must be pinned.
 */
function uncoveredIndices(
  { chip, report }: Pick<VerifiedDevice, 'chip' | 'report'>,
  set: PinnedMeasurements,
  sources: readonly ReferenceSource[],
): readonly number[] {
  const covered = new Set(
    sources.flatMap(({ measurements }) =>
      [...measurements].flatMap(([index, { active }]) => (active ? [index] : [])),
    ),
  );
  const isCovered = (index: number) => covered.has(index);
  const isPinned = (index: number) => Object.hasOwn(set.values, String(index));
  const required = requiredIndices(chip, coversDriver(set)).filter((index) => !isPinned(index));
  const nvdec0 = report.kind === 'gpu' && report.nvdec0 && !isCovered(NVDEC0_INDEX) ? [NVDEC0_INDEX] : [];
  const measured = knowsIndices(chip) ? [] : measuredIndices(report);
  const unknown = measured.filter((index) => !isCovered(index));
  return [...new Set([...required, ...nvdec0, ...unknown])];
}

function knowsIndices(chip: ChipName): boolean {
  return JUDGED_INDICES[chip]?.driver !== undefined;
}

function measuredIndices(report: DeviceReport): readonly number[] {
  const isUndefined = (index: number) => report.kind === 'gpu' && !report.nvdec0 && index === NVDEC0_INDEX;
  return report.measurements.flatMap((value, index) => (isZero(value) || isUndefined(index) ? [] : [index]));
}

/**
 * Pins what verified devices measure, one set for each chip and pair of versions; switches of one machine differ in
 * some values, which become alternatives. What the devices run becomes what the policy accepts, developer tools
 * mode and tampered firmware included: take it from devices that are known to be good.
 */
export function pinMeasurements(devices: readonly VerifiedDevice[]): readonly PinnedMeasurements[] {
  const groups = new Map<string, VerifiedDevice[]>();
  for (const device of devices) {
    const name = setName(device);
    groups.set(name, [...(groups.get(name) ?? []), device]);
  }
  return [...groups].map(([name, group]) => pinGroup(name, group));
}

function setName({ chip, report }: VerifiedDevice): string {
  return report.kind === 'gpu'
    ? `${chip} driver ${report.driverVersion} VBIOS ${report.vbiosVersion}`
    : `${chip} BIOS ${report.biosVersion}`;
}

function pinGroup(name: string, group: readonly VerifiedDevice[]): PinnedMeasurements {
  const found = new Map<string, Set<string>>();
  for (const device of group) {
    for (const index of pinnableIndices(device)) {
      const value = device.report.measurements[index];
      if (value) found.set(`${index}`, (found.get(`${index}`) ?? new Set()).add(toHex(value)));
    }
  }
  const values = Object.fromEntries([...found].map(([index, known]) => [index, [...known]]));
  const [{ report }] = group as [VerifiedDevice];
  if (report.kind === 'switch') {
    return { name, kind: 'switch', chip: 'LS10', vbiosVersion: report.biosVersion.toUpperCase(), values };
  }
  const { driverVersion, vbiosVersion } = report;
  return { name, kind: 'gpu', chip: report.chip, driverVersion, vbiosVersion, values };
}

/** What manifests of the chip judge, or all where none was seen; without NVDEC0 while the engine is off. */
function pinnableIndices({ chip, report }: VerifiedDevice): readonly number[] {
  const on = report.kind === 'gpu' && report.nvdec0 ? [NVDEC0_INDEX] : [];
  if (knowsIndices(chip)) return [...requiredIndices(chip, true), ...on].toSorted((a, b) => a - b);
  return report.measurements.flatMap((_, index) => (index === NVDEC0_INDEX ? on : [index]));
}
