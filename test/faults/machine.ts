import { randomBytes } from 'node:crypto';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { parseDeviceReport } from '../../attestation/evidence/nvidia/parse.ts';
import { SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import type { PinnedMeasurements, Policy } from '../../attestation/policy/policy.ts';
import type { Ways } from '../../enclave/collect/machine.ts';
import { nvmlWay } from '../../enclave/collect/nvidia/way.ts';
import { issueSimulatedCrl } from '../../enclave/collect/simulated/crl.ts';
import { createSimulatedSnp, type SimulatedSnp } from '../../enclave/collect/simulated/snp.ts';
import { tsmWay } from '../../enclave/collect/tsm/way.ts';
import { pem, vcekPath } from '../src/collateral/minted.ts';
import { sends, startVendors, type VendorServer } from '../src/collateral/server.ts';
import { MACHINE, type MachineState } from '../support/configfsTsm/messages.ts';
import {
  describeMounted,
  mountConfigfsTsm,
  type ConfigfsTsm,
  type ReportMaker,
} from '../support/configfsTsm/mount.ts';
import { describeDriver, NvidiaDriver } from '../support/nvidiaDriver.ts';
import { measurementOf, mintDevice, type DeviceSpec, type MintedDevice } from '../support/nvidiaMachine.ts';
import { makeStore, SHIPPED_MODELS } from '../support/store.ts';

const CHIP_ID = randomBytes(64);
/** The security versions of the simulated chip as TCB_VERSION of Genoa has them. */
const TCB = Uint8Array.of(10, 0, 0, 0, 0, 0, 27, 84);
/** MSRSCNT: how often each of 64 measurement registers was extended, u32 each. */
const EXTENSION_COUNTS = 12;
/** As `NvidiaDriver.mode`: production, the feature on, DevTools off, GPUs by themselves. */
const CONFIDENTIAL = [2, 1, 0, 0] as const;
export const MODEL = 'glove-sif-100d';

/** A machine with an SNP chip behind configfs-tsm and a GPU behind the libraries of its driver. */
export class FaultyMachine {
  readonly configfs: ConfigfsTsm;
  readonly driver: NvidiaDriver;
  /** The library that stands for libnvidia-ml. */
  readonly nvml: string;
  /** One small model. */
  readonly models: string;
  /** What a relying party who knows this machine demands. */
  readonly policy: Policy;
  /** Mends what a test put in the place of a part of this machine. */
  onMend: () => void = () => undefined;
  readonly #cpu: { make: ReportMaker };
  readonly #chip: SimulatedSnp;
  readonly #gpu: GpuState;

  private constructor(parts: MachineParts) {
    this.configfs = parts.configfs;
    this.driver = parts.driver;
    this.nvml = parts.driver.build('nvml');
    this.models = parts.models;
    this.policy = parts.policy;
    this.#cpu = parts.cpu;
    this.#chip = parts.chip;
    this.#gpu = parts.gpu;
  }

  static async start(): Promise<FaultyMachine> {
    const [chip, device, models] = await Promise.all([
      createSimulatedSnp({ now: new Date(), chipId: CHIP_ID }),
      mintDevice({ fields: new Map([[EXTENSION_COUNTS, new Uint8Array(256)]]) }),
      makeStore(),
    ]);
    await cp(join(SHIPPED_MODELS, MODEL), join(models, MODEL), { recursive: true });
    const cpu = { make: reportsOf(chip) };
    const gpu: GpuState = { device, changes: {} };
    const configfs = await mountConfigfsTsm((wanted) => cpu.make(wanted));
    const driver = await NvidiaDriver.start({
      gpus: [{ certificates: device.certificates, report: gpuReports(gpu) }],
    });
    return new FaultyMachine({ configfs, driver, models, policy: await policyFor(device), cpu, chip, gpu });
  }

  /** Has reports of the CPU made otherwise. */
  set makeReport(make: ReportMaker) {
    this.#cpu.make = make;
  }

  /** A report of the chip as it is. */
  report(reportData: Uint8Array): Promise<Uint8Array> {
    return this.#chip.report(reportData);
  }

  /** Has reports of the chip changed on their way. */
  alterReports(alter: (report: Uint8Array) => Uint8Array): void {
    this.makeReport = async ({ inblob }) => ({ outblob: alter(await this.report(inblob)) });
  }

  /** What the GPU reports from now on, where that is another thing than before. */
  set gpuReports(changes: DeviceSpec) {
    this.#gpu.changes = changes;
  }

  setTsm(state: Partial<MachineState>): Promise<void> {
    return this.configfs.set(state);
  }

  /** All faults lifted. */
  async mend(): Promise<void> {
    this.onMend();
    this.#cpu.make = reportsOf(this.#chip);
    this.#gpu.changes = {};
    this.driver.faults.clear();
    this.driver.mode = CONFIDENTIAL;
    await this.configfs.set(MACHINE);
  }

  /** What AMD publishes of the chip, over a socket. */
  vendors(crl: Uint8Array = issueSimulatedCrl(new Date())): Promise<VendorServer> {
    const [vcek, ask, ark] = this.#chip.certificates as [Uint8Array, Uint8Array, Uint8Array];
    return startVendors({
      [vcekPath('genoa', CHIP_ID, TCB)]: sends('application/pkix-cert', vcek),
      '/vcek/v1/Genoa/cert_chain': sends('application/x-pem-file', pem(ask, ark)),
      [CRL_PATH]: sends('application/pkix-crl', crl),
    });
  }

  /** The ways of the service to this hardware, with deadlines that a slow test machine can keep. */
  ways({ cpuMs = 60_000, gpuMs = 60_000, nvml = this.nvml }: WayOptions = {}): Ways {
    const tsm = tsmWay({ configfs: this.configfs.folder, deadlineMs: cpuMs });
    const deadlines = { initialise: 600_000, attest: gpuMs, ask: 600_000 };
    // A machine on whose bus is no GPU, unless the driver finds one.
    const devices = nvmlWay({ nvml, deadlines, pciDevices: join(this.models, 'none') });
    return { cpu: [{ ...tsm, isConfidential: true }], devices };
  }

  async stop(): Promise<void> {
    await this.driver.stop();
    await this.configfs.unmount();
  }
}

interface WayOptions {
  /** How long a report of the CPU, or of the GPU, may take. */
  readonly cpuMs?: number;
  readonly gpuMs?: number;
  readonly nvml?: string;
}

export const CRL_PATH = '/vcek/v1/Genoa/crl';

interface GpuState {
  readonly device: MintedDevice;
  changes: DeviceSpec;
}

interface MachineParts extends Pick<FaultyMachine, 'configfs' | 'driver' | 'models' | 'policy'> {
  readonly cpu: { make: ReportMaker };
  readonly chip: SimulatedSnp;
  readonly gpu: GpuState;
}

/** A host that hands out no certificates: its table is empty, and the vendor is asked for them. */
function reportsOf(chip: SimulatedSnp): ReportMaker {
  return async ({ inblob }) => ({ outblob: await chip.report(inblob) });
}

function gpuReports(gpu: GpuState): (nonce: Uint8Array) => Promise<Uint8Array> {
  return async (nonce) => (await gpu.device.evidence(nonce, gpu.changes)).report;
}

/** The published policy for simulated hardware, with the values of this GPU: no manifest is published for it. */
async function policyFor(device: MintedDevice): Promise<Policy> {
  const report = parseDeviceReport((await device.evidence()).report, 'gpu');
  if (report.kind !== 'gpu' || SIMULATED_POLICY.devices === 'none') throw new TypeError('no GPU');
  const { chip, driverVersion, vbiosVersion } = report;
  const values = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [i, [toHex(measurementOf(i))]]));
  const pinned: PinnedMeasurements = {
    name: 'minted',
    kind: 'gpu',
    chip,
    driverVersion,
    vbiosVersion,
    values,
  };
  const { nvidia } = SIMULATED_POLICY.devices;
  return {
    ...SIMULATED_POLICY,
    devices: { ...SIMULATED_POLICY.devices, nvidia: { ...nvidia, pinnedMeasurements: [pinned] } },
  };
}

/** Counts after a driver was loaded onto a running GPU: register 1 was extended once more. */
export const EXTENDED: DeviceSpec = {
  fields: new Map([[EXTENSION_COUNTS, Uint8Array.from({ length: 256 }, (_, i) => (i === 4 ? 1 : 0))]]),
};

/** Another guest on the same chip, or the same one after a restart. */
export async function otherGuest(changes: { debug?: boolean } = {}): Promise<ReportMaker> {
  return reportsOf(await createSimulatedSnp({ now: new Date(), chipId: CHIP_ID, ...changes }));
}

/** A suite on one machine, whole before each test; where it cannot be built, one test says so. */
export function describeMachine(name: string, suite: (machine: () => FaultyMachine) => void): void {
  describeMounted(name, () => {
    describeDriver('on a machine with a GPU', () => {
      let machine: FaultyMachine;
      beforeAll(async () => {
        machine = await FaultyMachine.start();
      });
      beforeEach(() => machine.driver.reset());
      afterEach(() => machine.mend());
      afterAll(() => machine.stop());
      suite(() => machine);
    });
  });
}
