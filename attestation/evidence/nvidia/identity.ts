import { toHex } from '../../bytes/bytes.ts';
import { pass, type Check } from '../../checks.ts';
import { conclude, violated, type Finding } from '../../policy/finding.ts';
import type { NvidiaPolicy } from '../../policy/policy.ts';
import { isAtLeast, readDecimalVersion } from '../../policy/version.ts';
import type { ChipName } from './certificates.ts';
import type { DeviceReport, GpuReport } from './parse.ts';
import type { VerifiedDevice } from './verify.ts';

export const ARCHITECTURES: Readonly<Record<ChipName, NvidiaPolicy['architectures'][number]>> = {
  GH100: 'hopper',
  GB100: 'blackwell',
  GB20X: 'blackwell',
  LS10: 'ls10',
};

/** Whether the policy takes this very device with the versions that it runs. */
export function checkIdentity(device: VerifiedDevice, policy: NvidiaPolicy, subject: string): Check {
  const id = 'device.identity';
  const violations = [
    ...judgeDevice(device, policy),
    ...judgeDriver(device.report, policy),
    ...judgeVbios(device, policy),
  ];
  return violations.length === 0
    ? pass(id, subject, identityText(device))
    : conclude(id, subject, violations);
}

function judgeDevice(device: VerifiedDevice, policy: NvidiaPolicy): readonly Finding[] {
  const { chip } = device;
  const serial = toHex(device.serial);
  const architecture = ARCHITECTURES[chip];
  const violations: string[] = [];
  if (!policy.architectures.includes(architecture)) {
    violations.push(`${chip} is of architecture ${architecture}`);
  }
  if (policy.chips !== 'any' && !policy.chips.includes(chip)) {
    violations.push(`chip ${chip} is not in the policy`);
  }
  if (policy.serials !== 'any' && !policy.serials.includes(serial)) {
    violations.push(`serial ${serial} (UEID ${ueid(device.serial)}) is not in the policy`);
  }
  return violations.map((reason) => violated('DEVICE_NOT_ALLOWED', reason));
}

function judgeDriver(report: DeviceReport, { minimumDriver }: NvidiaPolicy): readonly Finding[] {
  if (report.kind === 'switch' || minimumDriver === 'any') return [];
  const { driverVersion, chip } = report;
  const minimum =
    typeof minimumDriver === 'string'
      ? minimumDriver
      : minimumDriver.find((candidate) => candidate.chip === chip)?.version;
  return judgeVersion(`driver of ${chip}`, driverVersion, minimum, readDecimalVersion);
}

function judgeVbios({ chip, report }: VerifiedDevice, { minimumVbios }: NvidiaPolicy): readonly Finding[] {
  if (minimumVbios === 'any') return [];
  const minimum = minimumVbios.find((candidate) => candidate.chip === chip)?.version;
  return report.kind === 'gpu'
    ? judgeVersion(`VBIOS of ${chip}`, report.vbiosVersion, minimum, readHex)
    : judgeVersion('BIOS of LS10', report.biosVersion, minimum, readHex);
}

function judgeVersion(
  what: string,
  version: string,
  minimum: string | undefined,
  read: (version: string) => readonly number[] | undefined,
): readonly Finding[] {
  if (minimum === undefined) {
    const reason = `no minimum is given for the ${what}, which is ${version}`;
    return [violated('REFERENCE_VALUES_MISSING', reason)];
  }
  const [have, want] = [read(version), read(minimum)];
  if (have && want && isAtLeast(have, want)) return [];
  return [violated('TCB_OUT_OF_DATE', `${what} is ${version}, the policy demands ${minimum}`)];
}

/** Dotted bytes in hex, as in VBIOS versions. */
function readHex(version: string): readonly number[] | undefined {
  if (!/^[0-9a-f]{2}(\.[0-9a-f]{2})*$/i.test(version)) return undefined;
  return version.split('.').map((part) => Number.parseInt(part, 16));
}

function identityText({ chip, serial, report }: VerifiedDevice): string {
  const name = `${chip} of serial ${toHex(serial)} (UEID ${ueid(serial)})`;
  return `${name}, ${report.kind === 'gpu' ? gpuText(report) : `BIOS ${report.biosVersion}`}`;
}

function gpuText({ project, projectSku, chipSku, chipInfo, driverVersion, vbiosVersion }: GpuReport): string {
  const board = `board ${project} ${projectSku} ${chipSku}${chipInfo === undefined ? '' : `, ${chipInfo}`}`;
  return `${board}, driver ${driverVersion}, VBIOS ${vbiosVersion}`;
}

/** The serial as NVIDIA's service writes it. */
function ueid(serial: Uint8Array): string {
  return BigInt(`0x${toHex(serial) || '0'}`).toString();
}
