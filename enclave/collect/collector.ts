import type { Collateral } from '../../attestation/collateral.ts';
import type { CpuEvidence, DeviceEvidence, Platform } from '../../attestation/evidence/evidence.ts';
import type { Finding } from './finding.ts';

/**
 * What collects evidence on one machine. Calls are serial: the caller never has two in flight, and the set of
 * devices is fixed for the life of the process. Failures are `CollectError`.
 */
export interface Collector {
  /** Shown to operators, such as `simulated` or `configfs-tsm`. */
  readonly name: string;
  /** Device reports for a 32-byte nonce, GPUs first. */
  collectDevices(nonce: Uint8Array): Promise<readonly DeviceEvidence[]>;
  /** A CPU report over 64 bytes of report data. */
  collectCpu(reportData: Uint8Array): Promise<CpuEvidence>;
  /** Vendor statements that come with the hardware; what vendors have to be asked for is not this one's to get. */
  collateral(): Promise<Collateral>;
}

/** One way to evidence of the CPU. */
export interface CpuCollector {
  readonly name: string;
  readonly platform: Platform;
  /** Evidence over 64 bytes of report data, which are found again inside it before it is returned. */
  collect(reportData: Uint8Array): Promise<CpuEvidence>;
  /** Log of measured boot as the platform has it; undefined where it has none. */
  bootLog(): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}

/** One way to evidence of GPUs and switches. */
export interface DeviceCollector {
  readonly name: string;
  /** One report of each device for a 32-byte nonce, GPUs first, always the same devices in the same order. */
  collect(nonce: Uint8Array): Promise<readonly DeviceEvidence[]>;
  /** Lets the devices take work. Call it only after our own verifier has accepted evidence of theirs. */
  admitWork(): Promise<void>;
  close(): Promise<void>;
}

/** Looks for a way, and opens it. */
export interface Way<Opened> {
  readonly name: string;
  /** Looks without changing anything; never throws. */
  find(): Promise<Finding>;
  /** Throws `CollectError` where it cannot be used. */
  open(): Promise<Opened>;
}
