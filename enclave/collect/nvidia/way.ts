import type { DeviceCollector, Way } from '../collector.ts';
import { CollectError, type CollectErrorCode } from '../errors.ts';
import type { Finding } from '../finding.ts';
import { CallLane } from './callLane.ts';
import { architectureName, NvmlCollector } from './collector.ts';
import { describeMode } from './mode.ts';
import { countPciGpus } from './pci.ts';
import { type NvmlDeadlines, NvmlSession } from './session.ts';
import { Switches } from './switches.ts';

const NAME = 'nvml';
const WITHOUT_DRIVER: readonly CollectErrorCode[] = ['LIBRARY_MISSING', 'DRIVER_NOT_LOADED'];
const DEADLINES: NvmlDeadlines = { initialise: 60_000, attest: 10_000, ask: 10_000 };

export interface NvmlOptions {
  /** NVML, by path or by the name that the dynamic loader looks for. */
  readonly nvml?: string;
  /** NSCQ, which is opened in Protected PCIe mode alone. */
  readonly nscq?: string;
  /** Where the kernel lists PCI devices. */
  readonly pciDevices?: string;
  readonly deadlines?: NvmlDeadlines;
}

/** Evidence of NVIDIA GPUs and switches through the libraries of the driver. */
export function nvmlWay(options: NvmlOptions = {}): Way<DeviceCollector> {
  const {
    nvml = 'libnvidia-ml.so.1',
    nscq = 'libnvidia-nscq.so.2',
    pciDevices = '/sys/bus/pci/devices',
    deadlines = DEADLINES,
  } = options;
  // One lane for each library, whoever opens it: a call that hangs keeps every later one out.
  const lanes = { nvml: new CallLane(), nscq: new CallLane() };
  const openNvml = () => NvmlSession.open(nvml, lanes.nvml, deadlines);
  const openSwitches = () => Switches.open(nscq, lanes.nscq, deadlines);
  return {
    name: NAME,
    async find() {
      const seen: string[] = [];
      try {
        const session = await openNvml();
        const collector = await owning(session, async () => {
          await look(session, seen);
          return NvmlCollector.open(session, openSwitches);
        });
        if (collector.switchCount > 0) seen.push(`${collector.switchCount} switches`);
        await collector.close();
        return { way: NAME, state: 'usable', detail: seen.join('; ') };
      } catch (error) {
        return await inTheWay(error, seen, pciDevices);
      }
    },
    async open() {
      const session = await openNvml();
      return owning(session, () => NvmlCollector.open(session, openSwitches));
    },
  };
}

/** Closes the session where it does not come into use. */
async function owning<T>(session: NvmlSession, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    await session.close().catch(() => undefined);
    throw error;
  }
}

/** Adds what is seen as it is seen, so that it is told even where the next thing fails. */
async function look(session: NvmlSession, seen: string[]): Promise<void> {
  seen.push(`driver ${await session.driverVersion()}`);
  for (const gpu of await session.gpus()) {
    const architecture = architectureName(await session.architecture(gpu));
    seen.push(`GPU ${gpu.index}: ${architecture}, VBIOS ${await session.vbiosVersion(gpu)}, ${gpu.uuid}`);
  }
  seen.push(describeMode(await session.mode()));
  seen.push(`ready state ${await session.readyState()}`);
}

/**
 * A machine without GPUs has nothing of this way, with or without a driver in its image; with GPUs, the driver is what
 * lacks. A host that hides the GPUs gets no evidence of them, which policies that demand GPUs refuse.
 */
async function inTheWay(error: unknown, seen: readonly string[], pciDevices: string): Promise<Finding> {
  const { code, message, advice } = asCollectError(error);
  const gpus = await countPciGpus(pciDevices);
  const bus = `${gpus} NVIDIA GPUs on the PCI bus`;
  const absent = gpus === 0 && seen.length === 0 && WITHOUT_DRIVER.includes(code);
  return {
    way: NAME,
    state: absent ? 'absent' : 'unusable',
    detail: [...seen, message, bus].join('; '),
    fix: advice,
  };
}

function asCollectError(error: unknown): CollectError {
  if (error instanceof CollectError) return error;
  return new CollectError('DEVICE_REFUSED', error instanceof Error ? error.message : String(error));
}
