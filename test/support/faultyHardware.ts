import type { CpuEvidence, DeviceEvidence } from '../../attestation/evidence/evidence.ts';
import type { Collateral } from '../../attestation/collateral.ts';
import type { Collector } from '../../enclave/collect/collector.ts';
import { createSimulatedCollector } from '../../enclave/collect/simulated/collector.ts';
import { NOW } from './world.ts';

/** What goes wrong at the door between the service and its hardware; nothing at first. */
export interface Faults {
  /** Instead of device reports. */
  devices: ((real: readonly DeviceEvidence[]) => Promise<readonly DeviceEvidence[]>) | undefined;
  /** Instead of a CPU report. */
  cpu: ((real: CpuEvidence, reportData: Uint8Array) => Promise<CpuEvidence>) | undefined;
  collateral: ((real: Collateral) => Collateral) | undefined;
  /** How often devices were asked, and whether ever two at a time. */
  asked: number;
  overlapped: boolean;
}

/** Simulated hardware as the service sees hardware, with a place for faults: collectors have tests of their own. */
export async function faultyHardware(options: Parameters<typeof createSimulatedCollector>[0] = {}) {
  const real = await createSimulatedCollector({ now: () => new Date(NOW), ...options });
  const own = await real.collateral();
  let running = 0;
  const faults: Faults = {
    devices: undefined,
    cpu: undefined,
    collateral: undefined,
    asked: 0,
    overlapped: false,
  };
  const collector: Collector = {
    name: real.name,
    async collectDevices(nonce) {
      faults.asked++;
      faults.overlapped ||= running > 0;
      running++;
      try {
        const devices = await real.collectDevices(nonce);
        return faults.devices ? await faults.devices(devices) : devices;
      } finally {
        running--;
      }
    },
    async collectCpu(reportData) {
      const evidence = await real.collectCpu(reportData);
      return faults.cpu ? faults.cpu(evidence, reportData) : evidence;
    },
    collateral: () => Promise.resolve(faults.collateral ? faults.collateral(own) : own),
  };
  const heal = (): void => {
    Object.assign(faults, { devices: undefined, cpu: undefined, collateral: undefined });
  };
  return { collector, real, faults, heal };
}
