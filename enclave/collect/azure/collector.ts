import { equalBytes } from '../../../attestation/bytes/bytes.ts';
import { tpmExtraData } from '../../../attestation/binding.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import type { HclReport } from '../../../attestation/evidence/azure/parse.ts';
import type { CpuEvidence, EncodedTpmQuote } from '../../../attestation/evidence/evidence.ts';
import { rsaSpki } from '../../../attestation/evidence/tpm/key.ts';
import type { CpuCollector, Way } from '../collector.ts';
import { CollectError } from '../errors.ts';
import type { TpmAccess } from '../tpm/access.ts';
import { accessTo, registersOf, type TpmOptions } from '../tpm/collector.ts';
import { EVENT_LOG_PATH, readEventLog } from '../tpm/eventLog.ts';
import { readPersistentKey, type AttestationKey } from '../tpm/keys.ts';
import { lookAtTpm, type Seen } from '../tpm/looking.ts';
import { quoteRegisters } from '../tpm/quote.ts';
import type { TpmSession } from '../tpm/session.ts';
import { RESOURCE_MANAGER } from '../tpm/transport.ts';
import { freshReport, NO_REPORT, readReport, type CollectedReport } from './hclReport.ts';
import type { MetadataOptions } from './metadata.ts';
import { fetchTdQuote } from './tdQuote.ts';
import { VcekSource } from './vcek.ts';

/** Persistent handle of the attestation key that the claims name as `HCLAkPub`: RSA-2048, RSASSA with SHA-256. */
export const AK_HANDLE = 0x81000003;
const CONFIDENTIAL =
  'Choose a confidential VM size of Azure (DCas, DCes, ECas, ECes or NCC series) with the security type «confidential».';

export interface AzureWayOptions extends TpmOptions {
  readonly metadata?: MetadataOptions;
}

/** With a report, or something like one, but without hardware or key behind it. */
const NOT_CONFIDENTIAL: readonly CollectError['code'][] = ['EVIDENCE_MALFORMED', 'DEVICE_MISSING'];

type AzurePlatform = 'azure-snp' | 'azure-tdx';

/** Evidence of an Azure confidential VM: HCL report, quote of its virtual TPM, and what the host adds to them. */
export function azureWay(options: AzureWayOptions = {}): Way<CpuCollector> {
  const name = 'azure';
  const { address = RESOURCE_MANAGER } = options;
  return {
    name,
    find: () => lookAtTpm(name, address, look),
    open: async () => {
      const access = accessTo(options, address);
      const platform = await access.use(async (session) => platformOf(await present(session)));
      return new AzureCollector(platform, access, options);
    },
  };
}

class AzureCollector implements CpuCollector {
  readonly name = 'azure';
  readonly platform: AzurePlatform;
  readonly #access: TpmAccess;
  readonly #options: AzureWayOptions;
  readonly #metadata: MetadataOptions;
  readonly #vcek: VcekSource;

  constructor(platform: AzurePlatform, access: TpmAccess, options: AzureWayOptions) {
    this.platform = platform;
    this.#access = access;
    this.#options = options;
    this.#metadata = options.metadata ?? {};
    this.#vcek = new VcekSource(this.#metadata);
  }

  /** The 64 bytes are in `user-data` of the claims that the hardware report commits to; their SHA-256 in the quote. */
  async collect(reportData: Uint8Array): Promise<CpuEvidence> {
    const { collected, tpm } = await this.#access.use(async (session) => {
      const collected = await freshReport(session, reportData);
      return { collected, tpm: await this.#quote(session, collected.report, reportData) };
    });
    const platform = platformOf(collected);
    if (platform !== this.platform) {
      throw new CollectError(
        'EVIDENCE_MISMATCH',
        `the HCL report is of ${platform}, not of ${this.platform}`,
      );
    }
    const { bytes, report } = collected;
    if (platform === 'azure-snp') {
      const certificates = await this.#vcek.certificatesFor(report.hardwareReport);
      return { platform, report: bytes, certificates, tpm };
    }
    const quote = await fetchTdQuote(this.#metadata, report.hardwareReport, report.reportData);
    return { platform, report: bytes, quote, tpm };
  }

  /** The claims vouch for the key of the quote, so that it needs no certificate. */
  async #quote(session: TpmSession, report: HclReport, reportData: Uint8Array): Promise<EncodedTpmQuote> {
    const key = await claimedKey(session, report);
    const extraData = tpmExtraData(reportData, nodeCrypto);
    const quote = await quoteRegisters(session, key, extraData, registersOf(this.#options));
    return { ...quote, certificates: [] };
  }

  bootLog(): Promise<Uint8Array | undefined> {
    return readEventLog(this.#options.eventLogPath ?? EVENT_LOG_PATH);
  }

  close(): Promise<void> {
    this.#access.close();
    return Promise.resolve();
  }
}

async function present(session: TpmSession): Promise<CollectedReport> {
  const collected = await readReport(session);
  if (!collected) throw new CollectError('DEVICE_MISSING', NO_REPORT);
  await claimedKey(session, collected.report);
  return collected;
}

function platformOf({ report }: CollectedReport): AzurePlatform {
  return `azure-${report.platform}`;
}

/** The key at the handle, which must be the one that the hardware vouches for through the claims. */
async function claimedKey(session: TpmSession, { claims }: HclReport): Promise<AttestationKey> {
  const key = await readPersistentKey(session, AK_HANDLE);
  if (!key) throw new CollectError('DEVICE_MISSING', `the TPM has no key at 0x${AK_HANDLE.toString(16)}`);
  if (equalBytes(key.area.spki, rsaSpki(claims.ak.n, claims.ak.e))) return key;
  throw new CollectError('EVIDENCE_MISMATCH', 'the key of the TPM is not the one that the HCL report names');
}

async function look(session: TpmSession): Promise<Seen> {
  try {
    const collected = await readReport(session);
    if (!collected) return { state: 'absent', detail: NO_REPORT, fix: CONFIDENTIAL };
    await claimedKey(session, collected.report);
    const { report, bytes } = collected;
    return { state: 'usable', detail: `HCL report of ${bytes.length} bytes over ${report.platform}` };
  } catch (error) {
    // A machine with trusted launch has a report without hardware behind it, which is refused as such.
    if (!(error instanceof CollectError) || !NOT_CONFIDENTIAL.includes(error.code)) throw error;
    return { state: 'unusable', detail: error.message, fix: CONFIDENTIAL };
  }
}
