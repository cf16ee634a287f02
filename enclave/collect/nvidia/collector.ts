import type { DeviceEvidence } from '../../../attestation/evidence/evidence.ts';
import type { DeviceCollector } from '../collector.ts';
import { CollectError } from '../errors.ts';
import { waitAtMost } from '../patience.ts';
import { readDeviceChain } from './certificates.ts';
import { readNoncedReport } from './deviceReport.ts';
import { isProtectedPcie } from './mode.ts';
import type { Gpu, NvmlSession } from './session.ts';
import type { Switches } from './switches.ts';

const NONCE_BYTES = 32;
const ACCEPTING_WORK = 1;
/** How long `close` waits for calls that are out. */
const CLOSE_PATIENCE_MS = 5000;

/** Values of nvmlDeviceArchitecture_t whose reports the verifier knows. */
const ATTESTING: ReadonlyMap<number, string> = new Map([
  [9, 'Hopper'],
  [10, 'Blackwell'],
]);

/** Evidence of the GPUs that the driver knew when it was opened and, in Protected PCIe mode, of the switches. */
export class NvmlCollector implements DeviceCollector {
  readonly name = 'nvml';
  readonly #session: NvmlSession;
  /** Undefined unless the machine is in Protected PCIe mode. */
  readonly #switches: Switches | undefined;
  readonly #uuids: readonly string[];
  #last: Promise<unknown> = Promise.resolve();
  /** Ends the waiting for each thing that is wanted; a call that is out goes on. */
  readonly #givingUp = new Set<() => void>();
  #closed = false;

  private constructor(session: NvmlSession, switches: Switches | undefined, uuids: readonly string[]) {
    this.#session = session;
    this.#switches = switches;
    this.#uuids = uuids;
  }

  /** Takes the session over. Throws where the machine protects nothing, or has GPUs that cannot attest. */
  static async open(session: NvmlSession, openSwitches: () => Promise<Switches>): Promise<NvmlCollector> {
    const protectedPcie = isProtectedPcie(await session.mode());
    const gpus = await session.gpus();
    if (gpus.length === 0) throw new CollectError('DEVICE_MISSING', 'the driver knows no GPU');
    const uuids = gpus.map(({ uuid }) => uuid);
    if (new Set(uuids).size !== uuids.length) {
      throw new CollectError('EVIDENCE_MALFORMED', 'the driver names one GPU twice');
    }
    for (const gpu of gpus) await checkArchitecture(session, gpu);
    const switches = protectedPcie ? await openSwitches() : undefined;
    return new NvmlCollector(session, switches, uuids);
  }

  /** How many switches belong to the evidence. */
  get switchCount(): number {
    return this.#switches?.count ?? 0;
  }

  collect(nonce: Uint8Array): Promise<readonly DeviceEvidence[]> {
    if (nonce.length !== NONCE_BYTES) throw new RangeError(`a nonce has ${NONCE_BYTES} bytes`);
    // The caller may fill its buffer anew while devices are at work, or before it is their turn.
    const asked = Uint8Array.from(nonce);
    return this.#alone(async () => {
      await this.#checkMode();
      const evidence: DeviceEvidence[] = [];
      for (const gpu of await this.#sameGpus()) {
        this.#requireOpen();
        evidence.push(await this.#attest(gpu, asked));
      }
      return [...evidence, ...((await this.#switches?.collect(asked)) ?? [])];
    });
  }

  /**
   * Sets the ready state to 1 and reads it back. Nothing here sets it to 0: after a start of the driver it is 0, and
   * taking it back under a running engine has effects that are not published. What stops serving on drift is the
   * service, which signs nothing and answers 503.
   */
  admitWork(): Promise<void> {
    return this.#alone(async () => {
      await this.#checkMode();
      if ((await this.#session.readyState()) === ACCEPTING_WORK) return;
      await this.#session.setReadyState(ACCEPTING_WORK);
      const state = await this.#session.readyState();
      if (state !== ACCEPTING_WORK) {
        throw new CollectError('DEVICE_REFUSED', `the ready state was set to 1 and is ${state}`);
      }
    });
  }

  /** Gives up on what is under way, and waits a moment for it to come back. What hangs is left to the driver. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const giveUp of this.#givingUp) giveUp();
    await waitAtMost(
      CLOSE_PATIENCE_MS,
      this.#last.then(() => this.#release()),
    );
  }

  /** Behind the last call: nothing is taken from below one that is out. */
  async #release(): Promise<void> {
    await this.#switches?.close().catch(() => undefined);
    await this.#session.close().catch(() => undefined);
  }

  async #attest(gpu: Gpu, nonce: Uint8Array): Promise<DeviceEvidence> {
    const device = `GPU ${gpu.index} (${gpu.uuid})`;
    const certificates = readDeviceChain(await this.#session.certificateChain(gpu), device);
    const report = await this.#session.attestationReport(gpu, nonce);
    const read = readNoncedReport(report, 'gpu', nonce, device);
    // A driver without the settings function states no multi-GPU mode; the report, which is signed, always does.
    if (read.kind === 'gpu' && (read.mode === 'ppcie') !== (this.#switches !== undefined)) {
      const reason = `${device} reports mode ${read.mode}, and the driver ${this.#switches ? 'states' : 'does not state'} Protected PCIe`;
      throw new CollectError('EVIDENCE_MISMATCH', reason);
    }
    return { kind: 'gpu', report, certificates };
  }

  /** The mode can change under a process: another boot of the GPU, another driver. */
  async #checkMode(): Promise<void> {
    const protectedPcie = isProtectedPcie(await this.#session.mode());
    if (protectedPcie !== (this.#switches !== undefined)) {
      throw new CollectError('DEVICE_LOST', 'the multi-GPU mode is another than at the start');
    }
  }

  /** Handles are asked for anew: those of a driver that has lost a GPU may stand for nothing or for another one. */
  async #sameGpus(): Promise<readonly Gpu[]> {
    const gpus = await this.#session.gpus();
    const uuids = gpus.map(({ uuid }) => uuid);
    if (uuids.join() === this.#uuids.join()) return gpus;
    throw new CollectError(
      'DEVICE_LOST',
      `the GPUs are ${uuids.join(', ')}, and were ${this.#uuids.join(', ')}`,
    );
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(() => {
      this.#requireOpen();
      return work();
    });
    this.#last = done.catch(() => undefined);
    return new Promise<T>((resolve, reject) => {
      const giveUp = () => {
        reject(closed());
      };
      this.#givingUp.add(giveUp);
      void done.then(resolve, reject).finally(() => this.#givingUp.delete(giveUp));
    });
  }

  #requireOpen(): void {
    if (this.#closed) throw closed();
  }
}

function closed(): CollectError {
  return new CollectError('STOPPED', 'the GPUs are closed');
}

async function checkArchitecture(session: NvmlSession, gpu: Gpu): Promise<void> {
  const architecture = await session.architecture(gpu);
  if (ATTESTING.has(architecture)) return;
  const known = [...ATTESTING.values()].join(' and ');
  const reason = `GPU ${gpu.index} is ${architectureName(architecture)}; evidence is known of ${known}`;
  throw new CollectError('DEVICE_REFUSED', reason);
}

export function architectureName(architecture: number): string {
  return ATTESTING.get(architecture) ?? `of architecture ${architecture}`;
}
