import { equalBytes, toHex } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check, type CheckId } from '../../checks.ts';
import type { NvidiaPolicy, Policy } from '../../policy/policy.ts';
import type { ChipName } from './certificates.ts';
import { checkMeasurements } from './measurements.ts';
import type { DeviceReport, GpuReport } from './parse.ts';
import type { DeviceReference, DeviceReferences } from './references.ts';
import type { VerifiedDevice } from './verify.ts';

const ARCHITECTURES: Readonly<Record<ChipName, NvidiaPolicy['architectures'][number]>> = {
  GH100: 'hopper',
  GB100: 'blackwell',
  GB20X: 'blackwell',
  LS10: 'ls10',
};

/** Judges one verified device by the policy and by the vendor's reference values. */
export function appraiseDevice(
  device: VerifiedDevice,
  references: DeviceReferences,
  policy: NvidiaPolicy,
  subject: string,
): readonly Check[] {
  const { report } = device;
  const slots: readonly ReferenceSlot[] = [
    { id: 'device.driver-reference', reference: references.driver, version: driverVersion(report) },
    { id: 'device.vbios-reference', reference: references.vbios, version: firmwareVersion(report) },
  ];
  const judged = slots.flatMap(({ id, reference, version }) =>
    reference && version !== undefined
      ? [{ reference, check: checkReference(id, reference, version, report, subject) }]
      : [],
  );
  const usable = judged.flatMap(({ reference, check }) =>
    check.result === 'pass' && 'anchor' in reference ? [reference] : [],
  );
  const missing = judged.flatMap(({ reference }) => ('missing' in reference ? [reference.missing] : []));
  return [
    checkFirmwareId(device, policy, subject),
    checkMode(report, policy, subject),
    checkIdentity(device, policy, subject),
    ...judged.map(({ check }) => check),
    checkMeasurements(report, { usable, missing }, usable.length === judged.length, subject),
  ];
}

interface ReferenceSlot {
  readonly id: CheckId;
  readonly reference: DeviceReference | undefined;
  /** Undefined where the device has no such part. */
  readonly version: string | undefined;
}

function driverVersion(report: DeviceReport): string | undefined {
  return report.kind === 'gpu' ? report.driverVersion : undefined;
}

function firmwareVersion(report: DeviceReport): string {
  return report.kind === 'gpu' ? report.vbiosVersion : report.biosVersion;
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

function checkMode(report: DeviceReport, { modes }: NvidiaPolicy, subject: string): Check {
  const id = 'device.mode';
  if (report.kind === 'switch') {
    return report.locked
      ? pass(id, subject, 'the switch is locked')
      : fail(id, subject, 'DEVICE_MODE_FORBIDDEN', 'the switch is not locked');
  }
  return modes.includes(report.mode)
    ? pass(id, subject, report.mode)
    : fail(id, subject, 'DEVICE_MODE_FORBIDDEN', `${report.mode}; the policy names ${modes.join(', ')}`);
}

function checkIdentity(device: VerifiedDevice, policy: NvidiaPolicy, subject: string): Check {
  const id = 'device.identity';
  const { chip, report } = device;
  const serial = toHex(device.serial);
  const architecture = ARCHITECTURES[chip];
  if (!policy.architectures.includes(architecture)) {
    return fail(id, subject, 'DEVICE_NOT_ALLOWED', `${chip} is of architecture ${architecture}`);
  }
  if (policy.serials !== 'any' && !policy.serials.includes(serial)) {
    return fail(id, subject, 'DEVICE_NOT_ALLOWED', `serial ${serial} is not in the policy`);
  }
  if (report.kind === 'gpu' && policy.minimumDriver !== 'any') {
    if (!isAtLeast(report.driverVersion, policy.minimumDriver)) {
      const reason = `driver ${report.driverVersion}, the policy demands ${policy.minimumDriver}`;
      return fail(id, subject, 'TCB_OUT_OF_DATE', reason);
    }
  }
  return pass(id, subject, `${chip} of serial ${serial}`);
}

/** Compares dotted numbers; a version of another form is not at least anything. */
function isAtLeast(version: string, minimum: string): boolean {
  if (!/^\d{1,9}(\.\d{1,9})*$/.test(version)) return false;
  const [have, want] = [version, minimum].map((text) => text.split('.').map(Number)) as [number[], number[]];
  for (let i = 0; i < Math.max(have.length, want.length); i++) {
    const difference = (have[i] ?? 0) - (want[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** A manifest can be genuine and for another chip or version: then its values say nothing of this device. */
function checkReference(
  id: CheckId,
  reference: DeviceReference,
  version: string,
  report: DeviceReport,
  subject: string,
): Check {
  if ('missing' in reference) {
    return fail(
      id,
      subject,
      'REFERENCE_VALUES_MISSING',
      `reference values ${reference.missing} were not supplied`,
    );
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

/** Judges the set of verified devices: how many of each kind in one mode, and each only once. */
export function appraiseDeviceSet(
  devices: readonly VerifiedDevice[],
  policy: Pick<Exclude<Policy['devices'], 'none'>, 'gpus' | 'switches'>,
): readonly Check[] {
  return [checkCount(devices, policy), checkDistinct(devices)];
}

function checkCount(
  devices: readonly VerifiedDevice[],
  { gpus, switches }: Pick<Exclude<Policy['devices'], 'none'>, 'gpus' | 'switches'>,
): Check {
  const id = 'devices.count';
  const gpuCount = devices.filter(({ kind }) => kind === 'gpu').length;
  const switchCount = devices.length - gpuCount;
  const found = `${gpuCount} GPUs and ${switchCount} switches verified`;
  const inRange = (count: number, range: typeof gpus) => count >= range.minimum && count <= range.maximum;
  if (!inRange(gpuCount, gpus) || !inRange(switchCount, switches)) {
    const wanted = `${gpus.minimum} to ${gpus.maximum} and ${switches.minimum} to ${switches.maximum}`;
    return fail(id, 'devices', 'DEVICE_COUNT_MISMATCH', `${found}; the policy demands ${wanted}`);
  }
  const modes = new Set(devices.flatMap(({ report }) => (report.kind === 'gpu' ? [report.mode] : [])));
  if (modes.size > 1) {
    return fail(id, 'devices', 'DEVICE_MODE_FORBIDDEN', `${found} in mixed modes: ${[...modes].join(', ')}`);
  }
  return pass(id, 'devices', found);
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
