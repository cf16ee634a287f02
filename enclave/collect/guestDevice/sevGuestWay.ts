import type { CpuCollector, Way } from '../collector.ts';
import { CollectError } from '../errors.ts';
import type { Finding } from '../finding.ts';
import { DeviceGate } from '../deviceGate.ts';
import { toSnpEvidence } from '../tsm/evidence.ts';
import { GuestDevice } from './device.ts';
import { findDevice } from './findDevice.ts';
import { requestSnpReport } from './snpReport.ts';

const NAME = 'sev-guest';
const REPORT_DATA_BYTES = 64;
/** How long `close` waits for a request that is out. */
const PATIENCE_MS = 1000;
const FIX = {
  absent:
    'On an SEV-SNP guest load the driver with `modprobe sev-guest` (Linux 5.19 and newer); on Linux 6.7 and newer ' +
    'configfs-tsm is the better way. On any other machine this device cannot be had.',
  denied: 'Run the service as root, or give its user read and write access to the device with a udev rule.',
};

export interface SevGuestOptions {
  readonly path?: string;
  /** C library that has `ioctl`; by default the one that this process runs on. */
  readonly cLibrary?: string;
  /** Privilege level that reports are to be of, 0 to 3; 0 by default. */
  readonly vmpl?: number;
  /** For one collection, retries included; 90 seconds by default, for the driver itself asks a host that throttles for 60. */
  readonly deadlineMs?: number;
  /** Before a throttled request is made again; 1 second by default. */
  readonly pauseMs?: number;
}

/** Reports of an SEV-SNP guest through the driver's own device, for kernels without configfs-tsm. */
export function sevGuestWay(options: SevGuestOptions = {}): Way<CpuCollector> {
  const { path = '/dev/sev-guest', vmpl = 0 } = options;
  if (![0, 1, 2, 3].includes(vmpl)) throw new RangeError('a privilege level is 0 to 3');
  return {
    name: NAME,
    find: (): Promise<Finding> => findDevice({ way: NAME, path, cLibrary: options.cLibrary, fix: FIX }),
    async open() {
      const device = await GuestDevice.open(path, options.cLibrary);
      return new SevGuestCollector(device, { ...options, vmpl });
    },
  };
}

class SevGuestCollector implements CpuCollector {
  readonly name = NAME;
  readonly platform = 'snp';
  readonly #device: GuestDevice;
  readonly #gate: DeviceGate;
  readonly #options: SevGuestOptions & { readonly vmpl: number };
  #closed = false;

  constructor(device: GuestDevice, options: SevGuestOptions & { readonly vmpl: number }) {
    this.#device = device;
    this.#gate = new DeviceGate(device.path);
    this.#options = options;
  }

  async collect(reportData: Uint8Array) {
    if (this.#closed) throw new CollectError('STOPPED', `${this.#device.path} is closed`);
    if (reportData.length !== REPORT_DATA_BYTES) throw new RangeError('report data has 64 bytes');
    const { vmpl, deadlineMs = 90_000, pauseMs = 1000 } = this.#options;
    const asked = reportData.slice();
    const { report, table } = await this.#gate.run(deadlineMs, (deadline) =>
      requestSnpReport(this.#device, { reportData: asked, vmpl, pauseMs }, deadline),
    );
    return toSnpEvidence({ report, certificateTable: table, manifest: new Uint8Array() }, asked, vmpl);
  }

  /** What booted is in the launch measurement; the machine keeps no log of it. */
  bootLog(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#gate.stop(PATIENCE_MS);
    await this.#device.close();
  }
}
