import { CodedError } from '../../attestation/codedError.ts';
import type { CpuFacts, DeviceFacts, Facts, HardwareFacts } from './hardwareFacts.ts';

/** What may not happen to the hardware while an instance lives, with what a person can do about it. Stable codes. */
export const DISCONTINUITIES = {
  HARDWARE_CHANGED:
    'The evidence is of another machine or guest than before. Find out who moved or resumed the VM, then restart the service.',
  DEVICES_CHANGED: 'The set of devices is not the one before. Check them, then restart the service.',
  DRIVER_CHANGED: 'Another driver was loaded while receipts were issued. Restart the service.',
  DRIVER_RELOADED:
    'Measurement registers of a device were extended while receipts were issued, as when a driver is loaded again. Restart the service.',
  FIRMWARE_CHANGED: 'A device runs other firmware than before. Check it, then restart the service.',
  DEVICE_MODE_CHANGED: 'A device is in another confidential mode than before. Restart the service.',
  TCB_LOWERED: 'The platform runs older firmware than before. Do not go on before its operator explains it.',
  DEBUG_ENABLED: 'The host may now look inside. Do not go on: treat all keys of this VM as lost.',
  MEASUREMENT_CHANGED: 'What was launched is not what was measured before. Restart the VM from its image.',
} as const;

export type DiscontinuityCode = keyof typeof DISCONTINUITIES;

/** The hardware is not what it was: nothing more is signed by this instance. */
export class Discontinuity extends CodedError<DiscontinuityCode> {
  constructor(code: DiscontinuityCode, detail: string) {
    super(DISCONTINUITIES, code, detail);
  }
}

/** Throws `Discontinuity` for the first thing that is not as it was, the gravest first. */
export function requireContinuity(before: HardwareFacts, now: HardwareFacts): void {
  requireSameMachine(before.cpu, now.cpu);
  requireSameDevices(before.devices, now.devices);
}

function requireSameMachine(before: CpuFacts, now: CpuFacts): void {
  if (now.debug && !before.debug) throw new Discontinuity('DEBUG_ENABLED', 'debugging of the guest is on');
  if (before.platform !== now.platform) {
    throw new Discontinuity('HARDWARE_CHANGED', `the platform was ${before.platform}, is ${now.platform}`);
  }
  requireSame('HARDWARE_CHANGED', 'CPU', before.machine, now.machine);
  requireSame('MEASUREMENT_CHANGED', 'CPU', before.launched, now.launched);
  for (const [what, former] of Object.entries(before.levels)) requireLevel(what, former, now.levels[what]);
}

/** Each component counts by itself: one that rose makes up for none that fell. */
function requireLevel(what: string, before: readonly number[], now: readonly number[] | undefined): void {
  const lower = before.findIndex((component, i) => (now?.[i] ?? -1) < component);
  if (lower < 0) return;
  const found = now ? now.join('.') : 'not stated';
  throw new Discontinuity('TCB_LOWERED', `${what} was ${before.join('.')}, is ${found}`);
}

function requireSameDevices(before: readonly DeviceFacts[], now: readonly DeviceFacts[]): void {
  const same =
    before.length === now.length && before.every(({ identity }, i) => identity === now[i]?.identity);
  if (!same) {
    const names = (devices: readonly DeviceFacts[]) =>
      devices.map(({ identity }) => identity).join(', ') || 'none';
    throw new Discontinuity('DEVICES_CHANGED', `the devices were ${names(before)}, are ${names(now)}`);
  }
  for (const [i, former] of before.entries()) {
    const device = now[i];
    if (device) requireSameDevice(former, device);
  }
}

function requireSameDevice(before: DeviceFacts, now: DeviceFacts): void {
  const { identity } = before;
  requireSame('DEVICE_MODE_CHANGED', identity, before.mode, now.mode);
  requireSame('FIRMWARE_CHANGED', identity, before.firmware, now.firmware);
  requireSame('DRIVER_CHANGED', identity, before.driver, now.driver);
  requireSame('DRIVER_RELOADED', identity, before.extensions, now.extensions);
}

/** A fact that is no longer stated, or newly stated, is a change as well. */
function requireSame(code: DiscontinuityCode, subject: string, before: Facts, now: Facts): void {
  for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const [was, is] = [before[name] ?? 'not stated', now[name] ?? 'not stated'];
    if (was !== is) throw new Discontinuity(code, `${name} of ${subject} was ${was}, is ${is}`);
  }
}
