import { toHex } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check } from '../../checks.ts';
import type { NvidiaPolicy } from '../../policy/policy.ts';
import type { DeviceMode, DeviceReport, GpuReport } from './parse.ts';
import type { VerifiedDevice } from './verify.ts';

const MODE_NAMES: Readonly<Record<DeviceMode, string>> = {
  spt: 'single GPU passthrough (SPT)',
  mpt: 'multi GPU passthrough (MPT)',
  ppcie: 'protected PCIe (PPCIE)',
};

/** The report has no debug bit, so no policy can demand more than this. */
const DEVELOPER_TOOLS =
  'developer tools mode is not visible in the report: it rests on the measured driver and GSP firmware and on the ' +
  'collector, which sets no GPU ready in it';

/** Text of a mode for reasons. */
export function modeName(mode: DeviceMode): string {
  return MODE_NAMES[mode];
}

/** Whether the policy takes the mode of one device. */
export function checkDeviceMode(report: DeviceReport, policy: NvidiaPolicy, subject: string): Check {
  const id = 'device.mode';
  if (report.kind === 'switch') {
    return report.locked
      ? pass(id, subject, 'the switch is locked')
      : fail(id, subject, 'DEVICE_MODE_FORBIDDEN', 'the switch is not locked');
  }
  const seen = modeText(report);
  const { modes, minimumOpaqueVersion } = policy;
  if (!modes.includes(report.mode)) {
    const wanted = modes.map(modeName).join(', ');
    return fail(id, subject, 'DEVICE_MODE_FORBIDDEN', `${seen}; the policy names ${wanted}`);
  }
  if (report.opaqueVersion < minimumOpaqueVersion) {
    const reason = `${seen}; the policy demands opaque data of version ${minimumOpaqueVersion}`;
    return fail(id, subject, 'EVIDENCE_INCOMPLETE', reason);
  }
  return pass(id, subject, `${seen}; ${DEVELOPER_TOOLS}`);
}

function modeText({ mode, opaqueVersion, systemEnableStatus }: GpuReport): string {
  const source =
    opaqueVersion === 0 ? 'opaque data of version 0 states no feature flag' : 'as its feature flag states';
  const status = systemEnableStatus ? `, SYS_ENABLE_STATUS ${toHex(systemEnableStatus)} (not judged)` : '';
  return `${modeName(mode)}, ${source}${status}`;
}

/** One request goes to GPUs of one mode: mixed ones are of several machines, or some of them are not protected. */
export function checkSetMode(devices: readonly VerifiedDevice[]): Check {
  const id = 'devices.mode';
  const modes = modesOf(devices);
  const [mode, other] = modes;
  if (!mode) return skip(id, 'devices', 'NOT_REQUIRED', 'there is no GPU, so no mode to agree on');
  const named = modes.map(modeName).join(', ');
  if (other) return fail(id, 'devices', 'DEVICE_MODE_FORBIDDEN', `mixed modes: ${named}`);
  return pass(id, 'devices', `every GPU is in ${named}`);
}

/** The modes of the GPUs, each once. */
export function modesOf(devices: readonly VerifiedDevice[]): readonly DeviceMode[] {
  return [...new Set(devices.flatMap(({ report }) => (report.kind === 'gpu' ? [report.mode] : [])))];
}
