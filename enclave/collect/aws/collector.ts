import { equalBytes, toHex } from '../../../attestation/bytes/bytes.ts';
import type { CpuEvidence } from '../../../attestation/evidence/evidence.ts';
import { parseNitroDocument } from '../../../attestation/evidence/nitro/parse.ts';
import type { CpuCollector, Way } from '../collector.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';
import type { TpmAccess } from '../tpm/access.ts';
import { readVendorName } from '../tpm/capability.ts';
import { accessTo, type TpmOptions } from '../tpm/collector.ts';
import { EVENT_LOG_PATH, readEventLog } from '../tpm/eventLog.ts';
import { lookAtTpm, type Seen } from '../tpm/looking.ts';
import type { TpmSession } from '../tpm/session.ts';
import type { TpmAddress } from '../tpm/transport.ts';
import { requestDocument } from './nsmRequest.ts';

/** The TPM itself: AWS's tool sends its command there, not through the resource manager. One process may have it open. */
const TPM_DEVICE: TpmAddress = { kind: 'device', path: '/dev/tpm0' };
/** Vendor strings of NitroTPM (lockboot/vaportpm); its documents carry registers of `nitrotpm_pcrs`. */
const NITRO_TPM = 'NitroTPM';

export type NitroTpmWayOptions = Omit<TpmOptions, 'bank'>;

/**
 * Attestation documents of NitroTPM. The hypervisor makes and signs them; the TPM is outside what SNP protects, so
 * that they say what booted and protect no memory.
 */
export function nitroTpmWay(options: NitroTpmWayOptions = {}): Way<CpuCollector> {
  const name = 'nitrotpm';
  const { address = TPM_DEVICE } = options;
  return {
    name,
    find: () => lookAtTpm(name, address, look),
    open: async () => {
      const access = accessTo(options, address);
      const { state, detail } = await access.use(look);
      if (state !== 'usable') throw new CollectError('DEVICE_MISSING', detail);
      return new NitroTpmCollector(access, options);
    },
  };
}

class NitroTpmCollector implements CpuCollector {
  readonly name = 'nitrotpm';
  readonly platform = 'nitrotpm';
  readonly #access: TpmAccess;
  readonly #options: NitroTpmWayOptions;

  constructor(access: TpmAccess, options: NitroTpmWayOptions) {
    this.#access = access;
    this.#options = options;
  }

  /** `user_data` is the 64 bytes; `nonce` and `public_key` are absent. */
  async collect(reportData: Uint8Array): Promise<CpuEvidence> {
    const report = await this.#access.use((session) => requestDocument(session, reportData));
    const document = readEvidence('the document of NitroTPM', () => parseNitroDocument(report));
    const { kind, userData, nonce, publicKey } = document;
    if (kind !== 'tpm') {
      throw new CollectError('EVIDENCE_MISMATCH', 'the document is of an enclave, not of NitroTPM');
    }
    if (!userData || !equalBytes(userData, reportData) || nonce || publicKey) {
      const seen = userData ? toHex(userData) : 'none';
      throw new CollectError('EVIDENCE_MISMATCH', `the document has user_data ${seen}, or a nonce or key`);
    }
    return { platform: this.platform, report };
  }

  bootLog(): Promise<Uint8Array | undefined> {
    return readEventLog(this.#options.eventLogPath ?? EVENT_LOG_PATH);
  }

  close(): Promise<void> {
    this.#access.close();
    return Promise.resolve();
  }
}

async function look(session: TpmSession): Promise<Seen> {
  const name = await readVendorName(session);
  if (name.startsWith(NITRO_TPM)) return { state: 'usable', detail: `it calls itself «${name}»` };
  const fix =
    'On AWS, start an instance from an image that was registered with `--tpm-support v2.0` and UEFI boot.';
  return { state: 'absent', detail: `it calls itself «${name}», not «${NITRO_TPM}»`, fix };
}
