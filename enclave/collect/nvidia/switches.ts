import type { DeviceEvidence } from '../../../attestation/evidence/evidence.ts';
import { CollectError } from '../errors.ts';
import type { CallLane } from './callLane.ts';
import { readDeviceChain } from './certificates.ts';
import { readNoncedReport } from './deviceReport.ts';
import { CERTIFICATE_VALUE, NscqSession, REPORT_VALUE, SMALL_VALUE, UUID_VALUE } from './nscq.ts';
import type { NvmlDeadlines } from './session.ts';

const UUIDS = '/drv/nvswitch/{device}/uuid';
const ARCHITECTURES = '/{nvswitch}/id/arch';
const LS10 = 2;
/** NSCQ_DEVICE_TNVL_MODE_LOCKED: trusted NVLink is on, and stays on. */
const LOCKED = 3;
/** A label becomes part of a path: it must have none of the signs of one. */
const LABEL = /^[A-Za-z0-9-]+$/;

/** The switches of a machine in Protected PCIe mode, LS10 all of them, the same for the life of the process. */
export class Switches {
  readonly #session: NscqSession;
  readonly #labels: readonly string[];

  private constructor(session: NscqSession, labels: readonly string[]) {
    this.#session = session;
    this.#labels = labels;
  }

  static async open(path: string, lane: CallLane, deadlines: NvmlDeadlines): Promise<Switches> {
    const session = await NscqSession.open(path, lane, deadlines);
    try {
      const labels = await listed(session);
      await checkLocked(session, labels);
      return new Switches(session, labels);
    } catch (error) {
      await session.close().catch(() => undefined);
      throw error;
    }
  }

  get count(): number {
    return this.#labels.length;
  }

  /** Nothing else may use the session meanwhile: the nonce is an input of it, not of a call. */
  async collect(nonce: Uint8Array): Promise<readonly DeviceEvidence[]> {
    await this.#checkSame();
    await this.#session.setNonce(nonce);
    const evidence: DeviceEvidence[] = [];
    for (const label of this.#labels) {
      const device = `switch ${label}`;
      const pem = await this.#session.value(`/${label}/config/certificate`, CERTIFICATE_VALUE);
      const certificates = readDeviceChain(pem, device);
      const report = await this.#session.value(`/${label}/config/attestation_report`, REPORT_VALUE);
      readNoncedReport(report, 'switch', nonce, device);
      evidence.push({ kind: 'switch', report, certificates });
    }
    return evidence;
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  async #checkSame(): Promise<void> {
    const labels = await listed(this.#session);
    if (labels.join() !== this.#labels.join()) {
      const reason = `the switches are ${labels.join(', ')}, and were ${this.#labels.join(', ')}`;
      throw new CollectError('DEVICE_LOST', reason);
    }
    await checkLocked(this.#session, labels);
  }
}

async function listed(session: NscqSession): Promise<readonly string[]> {
  const uuids = await session.values(UUIDS, UUID_VALUE);
  if (uuids.length === 0) throw new CollectError('DEVICE_MISSING', 'the driver knows no switch');
  const labels: string[] = [];
  for (const uuid of uuids) {
    const label = await session.label(uuid);
    if (!LABEL.test(label) || labels.includes(label)) {
      throw new CollectError('EVIDENCE_MALFORMED', `switch label ${label} is no name, or two have it`);
    }
    labels.push(label);
  }
  return labels;
}

async function checkLocked(session: NscqSession, labels: readonly string[]): Promise<void> {
  const architectures = await session.values(ARCHITECTURES, SMALL_VALUE);
  if (architectures.length !== labels.length || architectures.some((each) => each !== LS10)) {
    const reason = `${labels.length} switches of architectures ${architectures.join(', ')}; only LS10 (${LS10}) attests`;
    throw new CollectError('DEVICE_REFUSED', reason);
  }
  for (const label of labels) {
    const mode = await session.value(`/${label}/config/pcie_mode`, SMALL_VALUE);
    if (mode !== LOCKED) {
      const reason = `switch ${label} is in mode ${mode}; its trusted NVLink is locked in mode ${LOCKED} alone`;
      throw new CollectError('CONFIDENTIAL_COMPUTING_OFF', reason);
    }
  }
}
