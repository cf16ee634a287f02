import type { Collateral } from '../../attestation/collateral.ts';
import type { CpuEvidence, DeviceEvidence } from '../../attestation/evidence/evidence.ts';

/**
 * What collects evidence on one platform. Calls are serial: the caller never has two in flight, and the set of
 * devices is fixed for the life of the process.
 */
export interface Collector {
  /** Shown to operators, such as `simulated` or `configfs-tsm`. */
  readonly name: string;
  /** Device reports for a 32-byte nonce, GPUs first. */
  collectDevices(nonce: Uint8Array): Promise<readonly DeviceEvidence[]>;
  /** A CPU report over 64 bytes of report data. */
  collectCpu(reportData: Uint8Array): Promise<CpuEvidence>;
  /** Vendor statements about this platform's evidence. */
  collateral(): Promise<Collateral>;
}
