import type { Collateral } from '../../attestation/collateral.ts';
import type { CpuEvidence, DeviceEvidence } from '../../attestation/evidence/evidence.ts';
import type { CollateralKeeper } from './keeper.ts';

/** The hardware as this room sees it. Calls are serial: devices first, then the CPU. */
export interface HardwareSource {
  collectDevices(nonce: Uint8Array): Promise<readonly DeviceEvidence[]>;
  collectCpu(reportData: Uint8Array): Promise<CpuEvidence>;
  bootLog?(): Promise<Uint8Array | undefined>;
  /** What the hardware hands out itself. */
  collateral(): Promise<Collateral>;
}

/** The same hardware, with what vendors say about its evidence: the keeper looks at all evidence that is collected. */
export function withKeptCollateral(source: HardwareSource, keeper: CollateralKeeper): HardwareSource {
  let devices: readonly DeviceEvidence[] = [];
  return {
    async collectDevices(nonce) {
      devices = await source.collectDevices(nonce);
      return devices;
    },
    async collectCpu(reportData) {
      const cpu = await source.collectCpu(reportData);
      keeper.observe({ cpu, devices });
      return cpu;
    },
    bootLog: async () => source.bootLog?.(),
    collateral: async () => keeper.with(await source.collateral()),
  };
}
