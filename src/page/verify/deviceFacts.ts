import { toHex } from '../../../attestation/bytes/bytes.ts';
import { appraiseDocument, referenceLibrary } from '../../../attestation/evidence/appraise.ts';
import { forOneAppraisal, type AppraisalContext } from '../../../attestation/evidence/context.ts';
import { compareMeasurements } from '../../../attestation/evidence/nvidia/measurements.ts';
import type { DeviceReport } from '../../../attestation/evidence/nvidia/parse.ts';
import type { DeviceReference, ReferenceLibrary } from '../../../attestation/evidence/nvidia/references.ts';
import type { VerifiedDevice } from '../../../attestation/evidence/nvidia/verify.ts';
import type { RawCpu } from '../../../attestation/raw/files.ts';
import type { DeviceComparison, DeviceFacts } from './protocol.ts';

/** Where the devices of a verdict are found again, to be shown. */
export type DeviceSource =
  | { readonly document: Uint8Array; readonly context: AppraisalContext }
  | {
      readonly verified: readonly VerifiedDevice[];
      readonly context: AppraisalContext;
      readonly cpu?: RawCpu | undefined;
    }
  | undefined;

export const NO_DEVICES: DeviceSource = undefined;

/**
 * The devices that verified, each beside the reference values that verified. Made after the verdict is out: it judges
 * nothing, and a device that did not verify is not among them.
 */
export async function deviceFacts(source: DeviceSource): Promise<readonly DeviceFacts[]> {
  if (!source) return [];
  const context = forOneAppraisal(source.context);
  const library = referenceLibrary(context);
  const verified =
    'document' in source
      ? (await appraiseDocument(source.document, '', context, library)).devices
      : source.verified;
  const position = { gpu: 0, switch: 0 };
  return Promise.all(
    verified.map((device) => factsOf(device, `${device.kind} ${position[device.kind]++}`, library)),
  );
}

async function factsOf(
  device: VerifiedDevice,
  subject: string,
  library: ReferenceLibrary,
): Promise<DeviceFacts> {
  const { report, kind, serial, anchor, chip } = device;
  const isGpu = report.kind === 'gpu';
  return {
    subject,
    kind,
    model: (isGpu && report.chipInfo) || chip,
    mode: isGpu ? report.mode : report.locked ? 'locked' : 'unlocked',
    driver: isGpu ? report.driverVersion : '',
    firmware: isGpu ? report.vbiosVersion : report.biosVersion,
    serial: toHex(serial),
    anchor: anchor.name,
    simulated: anchor.simulated,
    comparison: await comparisonOf(device, report, library),
  };
}

async function comparisonOf(
  device: VerifiedDevice,
  report: DeviceReport,
  library: ReferenceLibrary,
): Promise<DeviceComparison> {
  const { driver, vbios } = await library.of(device);
  const references = [driver, vbios].filter((reference) => reference !== undefined);
  const usable = references.flatMap((reference) => ('anchor' in reference ? [reference] : []));
  const { equal, mismatched, conflicting, skipped } = compareMeasurements(report, usable);
  const expectedAt = (index: number) =>
    usable.flatMap(({ measurements }) => measurements.get(index)?.alternatives ?? []).map(toHex);
  const differing = [...new Set([...mismatched, ...conflicting])].sort((a, b) => a - b);
  return {
    sources: references.map(sourceText),
    equal: equal.length,
    skipped,
    differing: differing.map((index) => ({
      index,
      found: toHex(report.measurements[index] ?? new Uint8Array(0)),
      expected: expectedAt(index),
    })),
  };
}

function sourceText(reference: DeviceReference): string {
  if ('missing' in reference) return `${reference.missing} was not supplied`;
  if ('refused' in reference) return `${reference.id} was refused: ${reference.refused.code}`;
  return `${reference.tagId} (${reference.product} ${reference.version})`;
}
