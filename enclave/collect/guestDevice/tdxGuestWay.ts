import { CollectError } from '../errors.ts';
import type { StreamAddress } from '../../native/sockets.ts';
import type { CpuCollector, Way } from '../collector.ts';
import type { TdxEvidence } from '../../../attestation/evidence/evidence.ts';
import { parseTdxQuote } from '../../../attestation/evidence/tdx/parse.ts';
import { readCcel } from '../tsm/bootLog.ts';
import { DeviceGate, type Deadline } from '../deviceGate.ts';
import { toTdxEvidence } from '../tsm/evidence.ts';
import { GuestDevice } from './device.ts';
import { findDevice } from './findDevice.ts';
import { findQuotingService, requestQuote } from './quotingService.ts';
import { describeAddress, HostSocket } from './socket.ts';
import { isQuoteOf, requestTdReport } from './tdReport.ts';

const NAME = 'tdx-guest';
const REPORT_DATA_BYTES = 64;
/** How long `close` waits for a request that is out. */
const PATIENCE_MS = 1000;
/** For a connection that `find` makes and closes again. */
const LOOK_MS = 3000;
const FIX = {
  absent:
    'In a TD load the driver with `modprobe tdx-guest` (Linux 6.2 and newer); on Linux 6.7 and newer configfs-tsm is ' +
    'the better way. On any other machine this device cannot be had.',
  denied: 'Run the service as root, or give its user read and write access to the device with a udev rule.',
  silent:
    'The device is there, but no quoting service answers: ask the operator of the host to run qgsd with a vsock port ' +
    '(4050 by default) and to give the machine a vsock device; another port is named in /etc/tdx-attest.conf.',
};

export interface TdxGuestOptions {
  readonly path?: string;
  /** C library that has `ioctl` and sockets; by default the one that this process runs on. */
  readonly cLibrary?: string;
  /** Quoting service; by default that of the host, at the port that `settings` names. */
  readonly quotingService?: StreamAddress;
  /** Settings of Intel's attestation library in the guest. */
  readonly settings?: string;
  /** Log of measured boot. */
  readonly ccel?: string;
  /** For one collection; 35 seconds by default, for the service itself gives up after 30. */
  readonly deadlineMs?: number;
}

/** TDREPORTs through the driver's own device, made into quotes by Intel's quoting service on the host. */
export function tdxGuestWay(options: TdxGuestOptions = {}): Way<CpuCollector> {
  const { path = '/dev/tdx_guest', cLibrary } = options;
  return {
    name: NAME,
    find: () =>
      findDevice({
        way: NAME,
        path,
        cLibrary,
        fix: FIX,
        ask: (device) => lookForService(device, options),
      }),
    async open() {
      const address = await serviceOf(options);
      return new TdxGuestCollector(await GuestDevice.open(path, cLibrary), address, options);
    },
  };
}

function serviceOf({ quotingService, settings = '/etc/tdx-attest.conf' }: TdxGuestOptions) {
  return quotingService ?? findQuotingService(settings);
}

/** Connects to the service and asks nothing. */
async function lookForService(device: GuestDevice, options: TdxGuestOptions): Promise<string> {
  const address = await serviceOf(options);
  await new DeviceGate('the quoting service').run(LOOK_MS, (deadline) =>
    HostSocket.use(device.calls, address, deadline, () => Promise.resolve()),
  );
  return `a quoting service listens at ${describeAddress(address)}`;
}

class TdxGuestCollector implements CpuCollector {
  readonly name = NAME;
  readonly platform = 'tdx';
  readonly #device: GuestDevice;
  readonly #service: StreamAddress;
  readonly #options: TdxGuestOptions;
  readonly #gate: DeviceGate;
  #closed = false;

  constructor(device: GuestDevice, service: StreamAddress, options: TdxGuestOptions) {
    this.#device = device;
    this.#service = service;
    this.#options = options;
    this.#gate = new DeviceGate(`${device.path} with its quoting service`);
  }

  async collect(reportData: Uint8Array): Promise<TdxEvidence> {
    if (this.#closed) throw new CollectError('STOPPED', `${this.#device.path} is closed`);
    if (reportData.length !== REPORT_DATA_BYTES) throw new RangeError('report data has 64 bytes');
    const asked = reportData.slice();
    const { deadlineMs = 35_000 } = this.#options;
    return this.#gate.run(deadlineMs, (deadline) => this.#collect(asked, deadline));
  }

  async #collect(reportData: Uint8Array, deadline: Deadline): Promise<TdxEvidence> {
    const tdReport = await requestTdReport(this.#device, reportData);
    const quote = await requestQuote(this.#device.calls, this.#service, tdReport, deadline);
    const none = new Uint8Array();
    const evidence = toTdxEvidence({ report: quote, certificateTable: none, manifest: none }, reportData);
    if (!isQuoteOf(parseTdxQuote(evidence.report).quote.body, tdReport)) {
      throw new CollectError('EVIDENCE_MISMATCH', 'the quoting service sent a quote of another TD');
    }
    return evidence;
  }

  bootLog(): Promise<Uint8Array | undefined> {
    return readCcel(this.#options.ccel ?? '/sys/firmware/acpi/tables/data/CCEL');
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#gate.stop(PATIENCE_MS);
    await this.#device.close();
  }
}
