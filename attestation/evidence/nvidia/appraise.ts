import { equalBytes, toHex } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check, type CheckId } from '../../checks.ts';
import type { NvidiaPolicy, PinnedMeasurements, Policy } from '../../policy/policy.ts';
import { notReached } from '../../verdict/steps.ts';
import { checkIdentity } from './identity.ts';
import { checkMeasurements, type UsableReferences } from './measurements.ts';
import { checkDeviceMode, checkSetMode } from './modes.ts';
import type { DeviceReport, GpuReport } from './parse.ts';
import { checkPinned, coversDriver, pinnedReference, pinnedSetsFor } from './pinned.ts';
import type { DeviceReference, DeviceReferences } from './references.ts';
import type { VerifiedRim } from './rim.ts';
import { checkTopology } from './topology.ts';
import type { VerifiedDevice } from './verify.ts';

export interface DeviceAppraisal {
  readonly checks: readonly Check[];
  /** Verified manifests that were looked at; none that a pinned set stands in for. */
  readonly manifests: readonly VerifiedRim[];
}

/** Judges one verified device by the policy and by the vendor's reference values, or by those that it pins. */
export function appraiseDevice(
  device: VerifiedDevice,
  references: DeviceReferences,
  policy: NvidiaPolicy,
  subject: string,
): DeviceAppraisal {
  const { checks, manifests } = judgeMeasurements(device, references, policy, subject);
  const own = [
    checkFirmwareId(device, policy, subject),
    checkDeviceMode(device.report, policy, subject),
    checkIdentity(device, policy, subject),
  ];
  return { checks: [...own, ...checks], manifests };
}

/** Where several pinned sets are for the device, it must pass one of them as a whole. */
function judgeMeasurements(
  device: VerifiedDevice,
  references: DeviceReferences,
  policy: NvidiaPolicy,
  subject: string,
): DeviceAppraisal {
  const attempts = pinnedSetsFor(device, policy).map((set) =>
    judgeByPinned(device, references, set, subject),
  );
  const passed = attempts.find(({ checks }) => checks.every(({ result }) => result !== 'fail'));
  return passed ?? attempts[0] ?? judgeByManifests(device.report, references, subject);
}

function judgeByManifests(
  report: DeviceReport,
  references: DeviceReferences,
  subject: string,
): DeviceAppraisal {
  const { checks, manifests, usable } = judgeReferences(slotsOf(report, references), report, subject);
  return { checks: [...checks, checkMeasurements(report, usable, subject)], manifests };
}

function judgeByPinned(
  device: VerifiedDevice,
  references: DeviceReferences,
  set: PinnedMeasurements,
  subject: string,
): DeviceAppraisal {
  const { report } = device;
  const isReplaced = ({ id }: ReferenceSlot) => id === 'device.vbios-reference' || coversDriver(set);
  const slots = slotsOf(report, references);
  const { checks, manifests, usable } = judgeReferences(
    slots.filter((slot) => !isReplaced(slot)),
    report,
    subject,
  );
  const replaced = slots.filter(isReplaced).map(({ id }) => pinnedReference(id, set, subject));
  return { checks: [...checks, ...replaced, checkPinned(device, set, usable, subject)], manifests };
}

interface ReferenceSlot {
  readonly id: CheckId;
  readonly reference: DeviceReference;
  /** Version of the part that runs on the device. */
  readonly version: string;
}

/** A switch has no driver of its own. */
function slotsOf(report: DeviceReport, { driver, vbios }: DeviceReferences): readonly ReferenceSlot[] {
  const version = report.kind === 'gpu' ? report.vbiosVersion : report.biosVersion;
  const firmware = { id: 'device.vbios-reference', reference: vbios, version } as const;
  if (report.kind === 'switch' || !driver) return [firmware];
  return [{ id: 'device.driver-reference', reference: driver, version: report.driverVersion }, firmware];
}

function judgeReferences(
  slots: readonly ReferenceSlot[],
  report: DeviceReport,
  subject: string,
): DeviceAppraisal & { readonly usable: UsableReferences } {
  const judged = slots.map((slot) => ({ ...slot, check: checkReference(slot, report, subject) }));
  const usable = judged.flatMap(({ reference, check }) =>
    check.result === 'pass' && 'anchor' in reference ? [reference] : [],
  );
  const missing = judged.flatMap(({ reference }) => ('missing' in reference ? [reference.missing] : []));
  return {
    checks: judged.map(({ check }) => check),
    manifests: slots.flatMap(({ reference }) => ('anchor' in reference ? [reference] : [])),
    usable: { usable, missing, complete: usable.length === judged.length },
  };
}

/** A manifest can be genuine and for another chip or version: then its values say nothing of this device. */
function checkReference(
  { id, reference, version }: ReferenceSlot,
  report: DeviceReport,
  subject: string,
): Check {
  if ('missing' in reference) {
    const reason = `reference values ${reference.missing} were not supplied`;
    return fail(id, subject, 'REFERENCE_VALUES_MISSING', reason);
  }
  if ('refused' in reference) {
    return fail(id, subject, reference.refused.code, `${reference.id}: ${reference.refused.message}`);
  }
  const { product, edition } = reference;
  const products = report.kind === 'gpu' ? gpuProducts(report) : ['LS10'];
  if (!products.includes(product) || edition !== (report.kind === 'gpu' ? 'GPU' : 'SWITCH')) {
    const reason = `the manifest is for ${edition} ${product}, the device is ${products.join(' or ')}`;
    return fail(id, subject, 'PRODUCT_MISMATCH', reason);
  }
  if (reference.version.toUpperCase() !== version.toUpperCase()) {
    const reason = `the manifest is for version ${reference.version}, the device runs ${version}`;
    return fail(id, subject, 'COLLATERAL_MISMATCH', reason);
  }
  return pass(id, subject, `manifest ${reference.tagId} for ${product} ${version}`);
}

/** Reports name the chip of a family, such as GB202 of GB20X, in CHIP_INFO. */
function gpuProducts({ chip, chipInfo }: GpuReport): readonly string[] {
  return chipInfo === undefined || chip === 'GH100' ? [chip] : [chipInfo, chip];
}

/** LS10 reports have no firmware id, so none can be demanded of a switch. */
function checkFirmwareId(
  { report, certifiedFirmwareId: certified }: VerifiedDevice,
  policy: NvidiaPolicy,
  subject: string,
): Check {
  const id = 'device.firmware-id';
  const reported = report.firmwareId;
  if (reported && certified) {
    return equalBytes(reported, certified)
      ? pass(id, subject, `firmware id ${toHex(reported)}`)
      : fail(
          id,
          subject,
          'FIRMWARE_ID_MISMATCH',
          `certified ${toHex(certified)}, reported ${toHex(reported)}`,
        );
  }
  const reason = `the ${reported ? 'certificate' : 'report'} states no firmware id`;
  return report.kind === 'gpu' && policy.firmwareId === 'required'
    ? fail(id, subject, 'EVIDENCE_INCOMPLETE', reason)
    : skip(id, subject, 'NOT_REQUIRED', reason);
}

/** What a policy says of a set of devices. */
export interface DeviceSetPolicy extends Pick<Exclude<Policy['devices'], 'none'>, 'gpus' | 'switches'> {
  readonly nvidia: Pick<NvidiaPolicy, 'topology'>;
}

/**
 * Judges the set of verified devices: how many of each kind, each only once, in one mode, as one machine. `listed` is
 * the number of devices in the evidence: where one did not verify, the others cannot be judged as a machine.
 */
export function appraiseDeviceSet(
  devices: readonly VerifiedDevice[],
  policy: DeviceSetPolicy,
  listed = devices.length,
): readonly Check[] {
  const topology =
    listed === devices.length
      ? checkTopology(devices, policy.nvidia)
      : notReached('devices.topology', 'devices', 'not every device verified');
  return [checkCount(devices, policy), checkDistinct(devices), checkSetMode(devices), topology];
}

function checkCount(devices: readonly VerifiedDevice[], { gpus, switches }: DeviceSetPolicy): Check {
  const id = 'devices.count';
  const gpuCount = devices.filter(({ kind }) => kind === 'gpu').length;
  const switchCount = devices.length - gpuCount;
  const found = `${gpuCount} GPUs and ${switchCount} switches verified`;
  const inRange = (count: number, range: typeof gpus) => count >= range.minimum && count <= range.maximum;
  if (inRange(gpuCount, gpus) && inRange(switchCount, switches)) return pass(id, 'devices', found);
  const wanted = `${gpus.minimum} to ${gpus.maximum} and ${switches.minimum} to ${switches.maximum}`;
  return fail(id, 'devices', 'DEVICE_COUNT_MISMATCH', `${found}; the policy demands ${wanted}`);
}

/** One device has one boot ROM serial, even if it could show two leaf certificates. */
function checkDistinct(devices: readonly VerifiedDevice[]): Check {
  const id = 'devices.distinct';
  for (const serialOf of [
    (device: VerifiedDevice) => toHex(device.serial),
    (device: VerifiedDevice) => toHex(device.bootRomSerial),
  ]) {
    const serials = devices.map(serialOf);
    const twice = serials.find((serial, i) => serials.indexOf(serial) !== i);
    if (twice !== undefined) {
      return fail(id, 'devices', 'DEVICE_DUPLICATE', `serial ${twice} is listed more than once`);
    }
  }
  return pass(id, 'devices', `${devices.length} distinct serials`);
}
