import process from 'node:process';
import { Command, InvalidArgumentError } from 'commander';
import { NVIDIA_ANCHORS } from '../../attestation/evidence/nvidia/anchors.ts';
import { nvmlWay } from '../../enclave/collect/nvidia/way.ts';
import { checkEvidence } from './check/evidence.ts';
import { NOT_RUN } from './ended.ts';

interface EvidenceFlags {
  readonly collections: number;
  readonly nvml?: string;
  readonly nscq?: string;
}

/** Evidence of the GPUs of this machine, which has to be a confidential VM. */
export function evidenceCommand(): Command {
  return new Command('evidence')
    .description('Collects evidence of the GPUs and switches of this machine, verifies it and measures.')
    .option('--collections <n>', 'how often', count, 20)
    .option('--nvml <file>', 'the library of the driver')
    .option('--nscq <file>', 'the library of switches, in Protected PCIe mode')
    .action(async ({ collections, nvml, nscq }: EvidenceFlags) => {
      const way = nvmlWay({ ...(nvml && { nvml }), ...(nscq && { nscq }) });
      const { finding, devices, milliseconds } = await checkEvidence(way, NVIDIA_ANCHORS, collections);
      process.stdout.write(`${finding.way}: ${finding.state}: ${finding.detail}\n`);
      if (finding.fix !== undefined) process.stdout.write(`${finding.fix}\n`);
      for (const device of devices) process.stdout.write(`verified: ${device}\n`);
      if (milliseconds.length === 0) {
        process.exitCode = NOT_RUN;
        return;
      }
      const sorted = milliseconds.toSorted((a, b) => a - b);
      const at = (share: number) => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1);
      process.stdout.write(`${sorted.length} collections: median ${at(0.5)} ms, longest ${at(1)} ms\n`);
    });
}

function count(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError('It takes a whole number from 1 up.');
}
