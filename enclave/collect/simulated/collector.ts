import { setTimeout as delay } from 'node:timers/promises';
import { NO_COLLATERAL, type Collateral } from '../../../attestation/collateral.ts';
import type { SnpEvidence } from '../../../attestation/evidence/evidence.ts';
import type { Collector } from '../collector.ts';
import { issueSimulatedCrl } from './crl.ts';
import { createSimulatedGpu } from './nvidia.ts';
import { createSimulatedRims } from './rim.ts';
import { createSimulatedSnp, type SimulatedSnpOptions } from './snp.ts';

const MAX_GPUS = 64;

export interface SimulatedCollectorOptions extends Omit<SimulatedSnpOptions, 'now'> {
  /** Number of GPUs, 1 by default. */
  readonly gpus?: number;
  /** The clock that dates the chip's certificate. */
  readonly now?: () => Date;
  /** How long a CPU report takes, in milliseconds; 0 by default. */
  readonly cpuDelayMs?: number;
  /** How long the reports of all GPUs, asked in parallel, take; 0 by default. */
  readonly gpuDelayMs?: number;
}

/** A simulated chip is one of SEV-SNP. */
export interface SimulatedCollector extends Collector {
  collectCpu(reportData: Uint8Array): Promise<SnpEvidence>;
}

/**
 * Hardware that is not there: evidence in the real formats, minted under published roots. It protects nothing, and
 * the verifier says so because of the roots. Each collector is another machine, with keys of its own.
 */
export async function createSimulatedCollector(
  options: SimulatedCollectorOptions = {},
): Promise<SimulatedCollector> {
  const { gpus: count = 1, now = () => new Date(), cpuDelayMs = 0, gpuDelayMs = 0 } = options;
  if (!Number.isInteger(count) || count < 0 || count > MAX_GPUS) {
    throw new RangeError(`between 0 and ${MAX_GPUS} GPUs can be simulated`);
  }
  const issuedAt = now();
  const mode = count > 1 ? 'mpt' : 'spt';
  const [snp, rims, ...gpus] = await Promise.all([
    createSimulatedSnp({ ...options, now: issuedAt }),
    createSimulatedRims(),
    ...Array.from({ length: count }, () => createSimulatedGpu(mode)),
  ]);
  const crls = [crlOf(issuedAt)];
  const collateral: Collateral = { ...NO_COLLATERAL, rims: count > 0 ? rims : new Map(), crls };
  return {
    name: 'simulated',
    async collectDevices(nonce) {
      await takeTime(gpuDelayMs);
      return Promise.all(
        gpus.map(async (gpu) => ({
          kind: 'gpu' as const,
          report: await gpu.report(nonce),
          certificates: gpu.certificates,
        })),
      );
    },
    async collectCpu(reportData) {
      await takeTime(cpuDelayMs);
      return { platform: 'snp', report: await snp.report(reportData), certificates: snp.certificates };
    },
    collateral: () => Promise.resolve(collateral),
  };
}

let newest: { readonly issuedAt: number; readonly crl: Uint8Array } | undefined;

/** Machines that start at one instant find one list: the vendor has one, not one for each of them. */
function crlOf(issuedAt: Date): Uint8Array {
  if (newest?.issuedAt !== issuedAt.getTime()) {
    newest = { issuedAt: issuedAt.getTime(), crl: issueSimulatedCrl(issuedAt) };
  }
  return newest.crl.slice();
}

async function takeTime(milliseconds: number): Promise<void> {
  if (milliseconds > 0) await delay(milliseconds);
}
