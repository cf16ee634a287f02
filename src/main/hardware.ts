import { readFile } from 'node:fs/promises';
import { parsePemChain } from '../../attestation/x509/certificate.ts';
import type { Collector } from '../../enclave/collect/collector.ts';
import {
  type CpuWay,
  lookAt,
  type Look,
  type Machine,
  openMachine,
  type Ways,
} from '../../enclave/collect/machine.ts';
import type { Finding } from '../../enclave/collect/finding.ts';
import { createSimulatedCollector } from '../../enclave/collect/simulated/collector.ts';
import { ConfigError } from '../config/errors.ts';
import { signsOfHardware } from '../config/hardware.ts';
import type { Config } from '../config/schema.ts';

/** The hardware that the service takes. */
export type Hardware = Collector &
  Pick<Machine, 'hasDevices' | 'admitWork' | 'bootLog' | 'close'> & {
    /** What was found of each way to evidence; nothing where it was not looked for. */
    readonly findings: readonly Finding[];
  };

/** What stands for this machine in tests. */
export interface MachineOptions {
  readonly ways?: Ways | undefined;
  /** What looks like hardware here. */
  readonly signs?: readonly string[] | undefined;
  /** Instead of all that is here. */
  readonly collector?: Collector | undefined;
}

/** What this machine offers to evidence, changing nothing. */
export async function lookAtHardware(config: Config, options: MachineOptions = {}): Promise<Look> {
  return lookAt(await waysOf(config, options));
}

/**
 * Opens what the configuration asks for. Simulated hardware stands in where an ordinary machine is all there is: any
 * sign of a TEE or of an NVIDIA device makes that impossible but by name (DESIGN section 10). Throws `CollectError`
 * and `ConfigError`.
 */
export async function openHardware(config: Config, options: MachineOptions = {}): Promise<Hardware> {
  if (options.collector) return asHardware(options.collector);
  const { collector, devices, gpus } = config.hardware;
  if (collector === 'simulated') return simulated(devices === 'none' ? 0 : gpus);
  const { machine, findings } = await openReal(config, options);
  if (machine) return { ...machine, findings };
  const [sign] = options.signs ?? signsOfHardware();
  if (sign !== undefined) {
    throw new ConfigError('COLLECTOR_MISSING', `${sign} exists, so hardware is not simulated here`);
  }
  return { ...(await simulated(devices === 'none' ? 0 : gpus)), findings };
}

/** SubjectPublicKeyInfo (DER) of the TPM's attestation key, for whoever issues its certificate. Throws `CollectError`. */
export async function readTpmKey({ hardware }: Config): Promise<Uint8Array> {
  const { tpmKeyOfThisMachine } = await import('../../enclave/collect/ways.ts');
  return tpmKeyOfThisMachine(hardware.tpm);
}

interface Opened {
  readonly machine: Machine | undefined;
  readonly findings: readonly Finding[];
}

async function openReal(config: Config, options: MachineOptions): Promise<Opened> {
  const { collector, devices } = config.hardware;
  // Tests that say what looks like hardware here mean all of it.
  if (options.signs && !options.ways && collector === 'auto') {
    return { machine: undefined, findings: [] };
  }
  const { ways, findings } = remembering(await waysOf(config, options));
  const machine = await openMachine(ways, { cpu: collector, devices });
  return { machine, findings: findings() };
}

/** The same ways, with what was found of each: the machine is looked at once, and before it is opened. */
function remembering({ cpu, devices }: Ways): {
  readonly ways: Ways;
  readonly findings: () => readonly Finding[];
} {
  const found = new Map<string, Finding>();
  const noting = <Found extends Ways['devices'] | CpuWay>(way: Found): Found => ({
    ...way,
    async find() {
      const finding = await way.find();
      found.set(way.name, finding);
      return finding;
    },
  });
  const findings = (): readonly Finding[] => [...cpu, devices].flatMap(({ name }) => found.get(name) ?? []);
  return { ways: { cpu: cpu.map(noting), devices: noting(devices) }, findings };
}

/** The libraries of foreign functions take memory: they are loaded where hardware is looked for. */
async function waysOf({ hardware }: Config, { ways }: MachineOptions): Promise<Ways> {
  if (ways) return ways;
  const { waysOfThisMachine } = await import('../../enclave/collect/ways.ts');
  return waysOfThisMachine({
    tpm: hardware.tpm,
    tpmCertificates: await certificatesOf(hardware.tpmCertificates),
  });
}

/** DER certificates of a PEM file, in its order, or the NV index where the TPM keeps them. */
async function certificatesOf(
  setting: string | undefined,
): Promise<readonly Uint8Array[] | { nvIndex: number }> {
  if (setting === undefined) return [];
  if (setting.startsWith('nv:')) return { nvIndex: Number(setting.slice('nv:'.length)) };
  return readPemFile(setting);
}

async function readPemFile(path: string): Promise<readonly Uint8Array[]> {
  try {
    return parsePemChain(await readFile(path, 'utf8')).map(({ der }) => der);
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'unknown';
    throw new ConfigError('CONFIG_INVALID', `hardware.tpmCertificates: ${path}: ${reason}`);
  }
}

async function simulated(gpus: number): Promise<Hardware> {
  return asHardware(await createSimulatedCollector({ gpus }));
}

/** A collector that has nothing to open, to close or to let work. */
function asHardware(collector: Collector): Hardware {
  return {
    ...collector,
    findings: [],
    hasDevices: false,
    admitWork: () => Promise.resolve(),
    bootLog: () => Promise.resolve(undefined),
    close: () => Promise.resolve(),
  };
}
