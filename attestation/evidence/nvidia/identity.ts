import { toHex } from '../../bytes/bytes.ts';
import { fail, pass, type Check } from '../../checks.ts';
import type { RefusalCode } from '../../errors.ts';
import type { NvidiaPolicy } from '../../policy/policy.ts';
import type { ChipName } from './certificates.ts';
import type { DeviceReport, GpuReport } from './parse.ts';
import type { VerifiedDevice } from './verify.ts';

const ARCHITECTURES: Readonly<Record<ChipName, NvidiaPolicy['architectures'][number]>> = {
  GH100: 'hopper',
  GB100: 'blackwell',
  GB20X: 'blackwell',
  LS10: 'ls10',
};

interface Violation {
  readonly code: RefusalCode;
  readonly reason: string;
}

/** Whether the policy takes this very device with the versions that it runs. */
export function checkIdentity(device: VerifiedDevice, policy: NvidiaPolicy, subject: string): Check {
  const id = 'device.identity';
  const violations = [
    ...judgeDevice(device, policy),
    ...judgeDriver(device.report, policy),
    ...judgeVbios(device, policy),
  ];
  const [first] = violations;
  if (!first) return pass(id, subject, identityText(device));
  const decisive = violations.find(({ code }) => code !== 'REFERENCE_VALUES_MISSING') ?? first;
  return fail(id, subject, decisive.code, violations.map(({ reason }) => reason).join('; '));
}

function judgeDevice(device: VerifiedDevice, policy: NvidiaPolicy): readonly Violation[] {
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
  return violations.map((reason) => ({ code: 'DEVICE_NOT_ALLOWED', reason }));
}

function judgeDriver(report: DeviceReport, { minimumDriver }: NvidiaPolicy): readonly Violation[] {
  if (report.kind === 'switch' || minimumDriver === 'any') return [];
  const { driverVersion, chip } = report;
  const minimum =
    typeof minimumDriver === 'string'
      ? minimumDriver
      : minimumDriver.find((candidate) => candidate.chip === chip)?.version;
  return judgeVersion(`driver of ${chip}`, driverVersion, minimum, readDecimal);
}

function judgeVbios({ chip, report }: VerifiedDevice, { minimumVbios }: NvidiaPolicy): readonly Violation[] {
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
): readonly Violation[] {
  if (minimum === undefined) {
    const reason = `no minimum is given for the ${what}, which is ${version}`;
    return [{ code: 'REFERENCE_VALUES_MISSING', reason }];
  }
  const [have, want] = [read(version), read(minimum)];
  if (have && want && isAtLeast(have, want)) return [];
  return [{ code: 'TCB_OUT_OF_DATE', reason: `${what} is ${version}, the policy demands ${minimum}` }];
}

/** Missing parts count as zero. */
function isAtLeast(have: readonly number[], want: readonly number[]): boolean {
  for (let i = 0; i < Math.max(have.length, want.length); i++) {
    const difference = (have[i] ?? 0) - (want[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** Dotted decimal numbers of a driver version; undefined for any other form, which is not at least anything. */
function readDecimal(version: string): readonly number[] | undefined {
  return /^\d{1,9}(\.\d{1,9})*$/.test(version) ? version.split('.').map(Number) : undefined;
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
