import { tpmExtraData } from '../../../attestation/binding.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import type { CpuEvidence } from '../../../attestation/evidence/evidence.ts';
import { unpadCertificate } from '../../../attestation/evidence/tpm/certificate.ts';
import type { CpuCollector, Way } from '../collector.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';
import type { TpmAccess } from '../tpm/access.ts';
import { accessTo, checkCertificate, registersOf, type TpmOptions } from '../tpm/collector.ts';
import { RH } from '../tpm/command.ts';
import { EVENT_LOG_PATH, readEventLog } from '../tpm/eventLog.ts';
import { withPrimary } from '../tpm/keys.ts';
import { lookAtTpm, type Seen } from '../tpm/looking.ts';
import { readNv } from '../tpm/nv.ts';
import { quoteRegisters } from '../tpm/quote.ts';
import type { TpmSession } from '../tpm/session.ts';
import { RESOURCE_MANAGER } from '../tpm/transport.ts';
import { readTemplate } from './template.ts';

/** NV indices of Google's attestation keys (google/go-tpm-tools): the certificate, and the template of the key. */
export const AK_INDICES = {
  ecc: { certificate: 0x01c10002, template: 0x01c10003 },
  rsa: { certificate: 0x01c10000, template: 0x01c10001 },
} as const;
const MAX_CERTIFICATE_BYTES = 8 * 1024;
const MAX_TEMPLATE_BYTES = 1024;
const NO_KEY = 'the TPM has no attestation key of Google: this is no Confidential VM of Google Cloud';

export interface GcpWayOptions extends TpmOptions {
  /** Certificates above that of the key in DER, its issuer first: Google publishes them, the TPM does not hold them. */
  readonly intermediates?: readonly Uint8Array[];
}

interface GoogleKey {
  readonly certificate: Uint8Array;
  readonly template: Uint8Array;
}

/**
 * Evidence of the virtual TPM that Google makes for an instance, under a certificate that names the instance. It is
 * the host's: memory is protected by SNP or TDX alone, whose evidence comes through configfs-tsm.
 */
export function gcpVtpmWay(options: GcpWayOptions = {}): Way<CpuCollector> {
  const name = 'gcp-vtpm';
  const { address = RESOURCE_MANAGER } = options;
  return {
    name,
    find: () => lookAtTpm(name, address, look),
    open: async () => {
      const access = accessTo(options, address);
      const key = await access.use(async (session) => {
        const found = await findKey(session);
        await withGoogleKey(session, found, () => Promise.resolve());
        return found;
      });
      return new GcpCollector(key, access, options);
    },
  };
}

class GcpCollector implements CpuCollector {
  readonly name = 'gcp-vtpm';
  readonly platform = 'gcp-vtpm';
  readonly #key: GoogleKey;
  readonly #access: TpmAccess;
  readonly #options: GcpWayOptions;

  constructor(key: GoogleKey, access: TpmAccess, options: GcpWayOptions) {
    this.#key = key;
    this.#access = access;
    this.#options = options;
  }

  async collect(reportData: Uint8Array): Promise<CpuEvidence> {
    const extraData = tpmExtraData(reportData, nodeCrypto);
    const quote = await this.#access.use((session) =>
      withGoogleKey(session, this.#key, (key) =>
        quoteRegisters(session, key, extraData, registersOf(this.#options)),
      ),
    );
    const certificates = [this.#key.certificate, ...(this.#options.intermediates ?? [])];
    return { platform: this.platform, tpm: { ...quote, certificates } };
  }

  bootLog(): Promise<Uint8Array | undefined> {
    return readEventLog(this.#options.eventLogPath ?? EVENT_LOG_PATH);
  }

  close(): Promise<void> {
    this.#access.close();
    return Promise.resolve();
  }
}

/** The key on P-256 where there is one: making an RSA key takes longer. */
async function findKey(session: TpmSession): Promise<GoogleKey> {
  for (const indices of Object.values(AK_INDICES)) {
    const padded = await readNv(session, indices.certificate, MAX_CERTIFICATE_BYTES);
    const template = await readNv(session, indices.template, MAX_TEMPLATE_BYTES);
    if (!padded || !template) continue;
    const certificate = readEvidence('the certificate of Google', () => unpadCertificate(padded));
    return { certificate, template: readEvidence('the template of Google', () => readTemplate(template)) };
  }
  throw new CollectError('DEVICE_MISSING', NO_KEY);
}

/** The same template gives the same key under the same endorsement seed; the certificate says whether it did. */
function withGoogleKey<T>(
  session: TpmSession,
  { template, certificate }: GoogleKey,
  use: Parameters<typeof withPrimary<T>>[3],
): Promise<T> {
  return withPrimary(session, RH.endorsement, template, (key) => {
    checkCertificate(key, [certificate]);
    return use(key);
  });
}

async function look(session: TpmSession): Promise<Seen> {
  try {
    const key = await findKey(session);
    await withGoogleKey(session, key, () => Promise.resolve());
    return {
      state: 'usable',
      detail: `attestation key with a certificate of ${key.certificate.length} bytes`,
    };
  } catch (error) {
    if (!(error instanceof CollectError) || error.code !== 'DEVICE_MISSING') throw error;
    const fix = 'Create the instance as a Confidential VM with a virtual TPM (`--shielded-vtpm`).';
    return { state: 'absent', detail: NO_KEY, fix };
  }
}
