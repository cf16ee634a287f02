import { NO_COLLATERAL } from '../../attestation/collateral.ts';
import type { Collector, CpuCollector, DeviceCollector, Way } from './collector.ts';
import { CollectError } from './errors.ts';
import type { Finding } from './finding.ts';

/** A way to CPU evidence. */
export interface CpuWay extends Way<CpuCollector> {
  /** Whether the evidence is of hardware that keeps the host out of memory. A TPM alone is not: it is asked for by name. */
  readonly isConfidential: boolean;
}

/** All ways of a machine, best first. */
export interface Ways {
  readonly cpu: readonly CpuWay[];
  readonly devices: Way<DeviceCollector>;
}

/** What was found of all ways, in their order. */
export interface Look {
  readonly cpu: readonly Finding[];
  readonly devices: Finding;
}

/** Which ways are taken: `auto`, or the name of a way to the CPU; devices as found, or none. */
export interface Choice {
  readonly cpu: string;
  readonly devices: 'auto' | 'none';
}

/** Looks at all ways, changing nothing. */
export async function lookAt({ cpu, devices }: Ways): Promise<Look> {
  return {
    cpu: await Promise.all(cpu.map((way) => way.find())),
    devices: await devices.find(),
  };
}

/** Real hardware: one way to the CPU and one to the devices, opened. */
export interface Machine extends Collector {
  /** Whether GPUs belong to it, which take no work before `admitWork`. */
  readonly hasDevices: boolean;
  /** Lets the devices take work. Call it only after our own verifier has accepted evidence of theirs. */
  admitWork(): Promise<void>;
  /** Log of measured boot as the platform has it; undefined where it has none. */
  bootLog(): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}

/**
 * Opens what is chosen. Undefined where `auto` finds nothing of a confidential VM and no GPU: an ordinary machine.
 * Throws `CollectError` where something is there that cannot be used: evidence is never quietly poorer than the machine.
 */
export async function openMachine(ways: Ways, choice: Choice): Promise<Machine | undefined> {
  const look = await lookAt(ways);
  const cpu = choice.cpu === 'auto' ? chooseCpu(ways.cpu, look.cpu) : wayNamed(ways.cpu, choice.cpu);
  const wantsDevices = choice.devices === 'auto' && look.devices.state !== 'absent';
  if (!cpu && !wantsDevices) return undefined;
  if (!cpu) throw noCpu(look.cpu);
  const devices = wantsDevices ? await ways.devices.open() : undefined;
  try {
    return joined(await cpu.open(), devices);
  } catch (error) {
    await devices?.close();
    throw error;
  }
}

/** The first that can be used. Where none can, the first that is there and in trouble: opening it says why. */
function chooseCpu(ways: readonly CpuWay[], findings: readonly Finding[]): CpuWay | undefined {
  const confidential = ways.map((way, i) => ({ way, finding: findings[i] })).filter(isConfidential);
  const usable = confidential.find(({ finding }) => finding?.state === 'usable');
  if (usable) return usable.way;
  return confidential.find(({ finding }) => finding?.state === 'unusable')?.way;
}

function isConfidential({ way }: { readonly way: CpuWay }): boolean {
  return way.isConfidential;
}

function wayNamed(ways: readonly CpuWay[], name: string): CpuWay {
  const way = ways.find((candidate) => candidate.name === name);
  if (way) return way;
  throw new CollectError('DEVICE_MISSING', `no way is called ${name}`);
}

/** There are GPUs, and the machine is no confidential VM. */
function noCpu(findings: readonly Finding[]): CollectError {
  const details = findings.map(({ way, detail }) => `${way}: ${detail}`);
  return new CollectError('DEVICE_MISSING', `no way to evidence of the CPU: ${details.join('; ')}`);
}

/** Evidence for documents and for key release is asked of one device: each waits until the former has its answer. */
function serially(): <T>(ask: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (ask) => {
    const answer = last.then(ask);
    last = answer.catch(() => undefined);
    return answer;
  };
}

function joined(cpu: CpuCollector, devices: DeviceCollector | undefined): Machine {
  const inTurn = serially();
  return {
    name: devices ? `${cpu.name} and ${devices.name}` : cpu.name,
    hasDevices: devices !== undefined,
    collectCpu: (reportData) => inTurn(() => cpu.collect(reportData)),
    collectDevices: (nonce) => devices?.collect(nonce) ?? Promise.resolve([]),
    // Certificates that the hardware hands out stand in the evidence.
    collateral: () => Promise.resolve(NO_COLLATERAL),
    admitWork: () => devices?.admitWork() ?? Promise.resolve(),
    bootLog: () => cpu.bootLog(),
    close: async () => {
      await Promise.all([cpu.close(), devices?.close()]);
    },
  };
}
