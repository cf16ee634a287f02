import type { CpuEvidence, SnpEvidence } from '../../../attestation/evidence/evidence.ts';
import { parseCertificateTable } from '../certificateTable.ts';
import type { CpuCollector } from '../collector.ts';
import { CollectError } from '../errors.ts';
import { readCcel } from './bootLog.ts';
import { DeviceGate } from '../deviceGate.ts';
import { toServiceEvidence, toSnpEvidence, toTdxEvidence } from './evidence.ts';
import {
  requestReport,
  type ReportBlobs,
  type ReportRequest,
  type TsmMachine,
  type TsmPlatform,
} from './report.ts';
import type { RequestFolders } from './requestFolder.ts';
import { isFinal } from './systemError.ts';

export const WAY = 'configfs-tsm';
const REPORT_DATA_BYTES = 64;
/** How long closing waits for a request that is with the kernel. */
const CLOSE_PATIENCE_MS = 5000;
/** Google's signed launch endorsement of its firmware, in the table of certificates (gce-tcb-verifier). */
const GOOGLE_ENDORSEMENT = '9f4116cd-c503-4f5a-8f6f-fb68882f4ce2';

/** Evidence of an SVSM over its services, for a nonce of 64 bytes. */
export interface ServiceEvidence {
  /** A report at VMPL 0 over SHA-512 of nonce and manifest. */
  readonly evidence: SnpEvidence;
  readonly manifest: Uint8Array;
}

export interface TsmCollector extends CpuCollector {
  readonly platform: TsmPlatform;
  /** VMPL that reports are of; undefined on TDX. */
  readonly vmpl: number | undefined;
  /** What Google sent of its firmware with the last report: a statement to verify, not a certificate. */
  readonly firmwareEndorsement: Uint8Array | undefined;
  /** SNP below an SVSM only. */
  collectServices(nonce: Uint8Array): Promise<ServiceEvidence>;
}

export interface TsmCollectorParts {
  readonly folders: RequestFolders;
  readonly machine: TsmMachine;
  readonly vmpl: number | undefined;
  readonly ccel: string;
  readonly deadlineMs: number;
}

/** Collects through the kernel's report interface, one request at a time. */
export class ConfigfsTsmCollector implements TsmCollector {
  readonly name = WAY;
  readonly platform: TsmPlatform;
  readonly vmpl: number | undefined;
  readonly #parts: TsmCollectorParts;
  readonly #gate = new DeviceGate(WAY);
  #firmwareEndorsement: Uint8Array | undefined;
  #over: CollectError | undefined;

  constructor(parts: TsmCollectorParts) {
    this.#parts = parts;
    this.platform = parts.machine.platform;
    this.vmpl = parts.vmpl;
  }

  get firmwareEndorsement(): Uint8Array | undefined {
    return this.#firmwareEndorsement;
  }

  async collect(reportData: Uint8Array): Promise<CpuEvidence> {
    // The caller may fill its buffer anew while the kernel is at work.
    const asked = reportData.slice();
    const blobs = await this.#request({ reportData: asked, vmpl: this.vmpl });
    if (this.vmpl === undefined) return toTdxEvidence(blobs, asked);
    const evidence = toSnpEvidence(blobs, asked, this.vmpl);
    const entries = parseCertificateTable(blobs.certificateTable);
    this.#firmwareEndorsement = entries.find(({ guid }) => guid === GOOGLE_ENDORSEMENT)?.data.slice();
    return evidence;
  }

  async collectServices(nonce: Uint8Array): Promise<ServiceEvidence> {
    if (!this.#parts.machine.hasServices) {
      throw new CollectError('DEVICE_MISSING', 'this guest does not run below an SVSM that attests services');
    }
    const asked = nonce.slice();
    const blobs = await this.#request({ reportData: asked, services: true });
    return { evidence: toServiceEvidence(blobs, asked), manifest: blobs.manifest };
  }

  /** SNP measures no boot: there a virtual TPM has the log. */
  async bootLog(): Promise<Uint8Array | undefined> {
    return this.platform === 'tdx' ? readCcel(this.#parts.ccel) : undefined;
  }

  async close(): Promise<void> {
    this.#over = new CollectError('STOPPED', `${WAY} is closed`);
    await this.#gate.stop(CLOSE_PATIENCE_MS);
    // Removing may hang like anything else that is asked of a kernel which has not come back.
    const { folders } = this.#parts;
    await this.#gate.run(CLOSE_PATIENCE_MS, () => folders.removeLeftOver()).catch(() => undefined);
  }

  async #request(wanted: Omit<ReportRequest, 'platform'>): Promise<ReportBlobs> {
    if (wanted.reportData.length !== REPORT_DATA_BYTES) {
      throw new RangeError(`report data has ${REPORT_DATA_BYTES} bytes`);
    }
    if (this.#over) throw this.#over;
    const request = { ...wanted, platform: this.platform };
    const { folders, deadlineMs } = this.#parts;
    try {
      return await this.#gate.run(deadlineMs, (deadline) => requestReport(folders, request, deadline));
    } catch (error) {
      if (isFinal(error) && error instanceof CollectError) this.#over ??= error;
      throw error;
    }
  }
}
