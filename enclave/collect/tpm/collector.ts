import { equalBytes, toHex } from '../../../attestation/bytes/bytes.ts';
import { tpmExtraData } from '../../../attestation/binding.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import type { CpuEvidence, TpmEvidence } from '../../../attestation/evidence/evidence.ts';
import { certificateSpki } from '../../../attestation/evidence/tpm/certificate.ts';
import type { CpuCollector, Way } from '../collector.ts';
import { CollectError } from '../errors.ts';
import { TpmAccess } from './access.ts';
import { RH } from './command.ts';
import { EVENT_LOG_PATH, readEventLog } from './eventLog.ts';
import { ECC_AK_TEMPLATE, readPersistentKey, withPrimary, type AttestationKey } from './keys.ts';
import { lookAtTpm, type Seen } from './looking.ts';
import { readCertificates, type NvCertificates } from './nvCertificates.ts';
import { readEvidence } from '../reading.ts';
import { quoteRegisters } from './quote.ts';
import type { PcrHash, Registers } from './selection.ts';
import type { TpmSession } from './session.ts';
import { RESOURCE_MANAGER, type TpmAddress } from './transport.ts';

export const ALL_PCRS: readonly number[] = Array.from({ length: 24 }, (_, index) => index);

/** What a collector over any TPM can be told. */
export interface TpmOptions {
  readonly address?: TpmAddress;
  /** For all TPM commands of one collection together. */
  readonly timeoutMs?: number;
  /** Bank of the quote, SHA-256 where absent. */
  readonly bank?: PcrHash;
  readonly eventLogPath?: string;
}

export interface TpmWayOptions extends TpmOptions {
  /** Persistent handle of the attestation key; a primary key of the owner hierarchy where absent. */
  readonly keyHandle?: number;
  /**
   * Certificates of the attestation key in DER, leaf first, or where the TPM keeps them: evidence has no place for a key
   * that nobody vouches for.
   */
  readonly certificates: readonly Uint8Array[] | NvCertificates;
}

/** Evidence of a TPM alone. It says what booted and protects no memory: a policy has to name it in words. */
export function tpmWay(options: TpmWayOptions): Way<CpuCollector> {
  const name = 'tpm';
  const { address = RESOURCE_MANAGER } = options;
  return {
    name,
    find: () => lookAtTpm(name, address, (session) => look(session, options)),
    open: async () => {
      const access = accessTo(options, address);
      const certificates = await access.use((session) => readCertificates(session, options.certificates));
      if (certificates.length === 0) throw new CollectError('DEVICE_MISSING', NO_CERTIFICATE);
      const collector = new TpmCollector({ ...options, certificates }, access);
      await collector.checkKey();
      return collector;
    },
  };
}

const NO_CERTIFICATE = 'no certificate of the attestation key of the TPM is configured';

/** SubjectPublicKeyInfo (DER) of the attestation key, for whoever issues its certificate. */
export function readAttestationKey(options: Omit<TpmWayOptions, 'certificates'>): Promise<Uint8Array> {
  const access = accessTo(options, options.address ?? RESOURCE_MANAGER);
  return access.use((session) => withKey(session, options, ({ area }) => Promise.resolve(area.spki.slice())));
}

type OpenOptions = TpmWayOptions & { readonly certificates: readonly Uint8Array[] };

class TpmCollector implements CpuCollector {
  readonly name = 'tpm';
  readonly platform = 'tpm';
  readonly #options: OpenOptions;
  readonly #access: TpmAccess;

  constructor(options: OpenOptions, access: TpmAccess) {
    this.#options = options;
    this.#access = access;
  }

  /** Whether the key of the TPM is that of the certificate. */
  async checkKey(): Promise<void> {
    await this.#access.use((session) => withKey(session, this.#options, () => Promise.resolve()));
  }

  async collect(reportData: Uint8Array): Promise<CpuEvidence> {
    const { certificates } = this.#options;
    const extraData = tpmExtraData(reportData, nodeCrypto);
    const quote = await this.#access.use((session) =>
      withKey(session, this.#options, (key) =>
        quoteRegisters(session, key, extraData, registersOf(this.#options)),
      ),
    );
    return { platform: 'tpm', tpm: { ...quote, certificates } } satisfies TpmEvidence;
  }

  bootLog(): Promise<Uint8Array | undefined> {
    return readEventLog(this.#options.eventLogPath ?? EVENT_LOG_PATH);
  }

  close(): Promise<void> {
    this.#access.close();
    return Promise.resolve();
  }
}

export function accessTo({ timeoutMs }: TpmOptions, address: TpmAddress): TpmAccess {
  return new TpmAccess({ address, ...(timeoutMs !== undefined && { timeoutMs }) });
}

export function registersOf({ bank = 'sha256' }: TpmOptions): Registers {
  return { hash: bank, pcrs: ALL_PCRS };
}

type KeyOptions = Pick<TpmWayOptions, 'keyHandle'> & Partial<Pick<OpenOptions, 'certificates'>>;

async function withKey<T>(
  session: TpmSession,
  { keyHandle, certificates = [] }: KeyOptions,
  use: (key: AttestationKey) => Promise<T>,
): Promise<T> {
  const checked = (key: AttestationKey) => {
    checkCertificate(key, certificates);
    return use(key);
  };
  if (keyHandle === undefined) return withPrimary(session, RH.owner, ECC_AK_TEMPLATE, checked);
  const key = await readPersistentKey(session, keyHandle);
  if (!key) throw new CollectError('DEVICE_MISSING', `the TPM has no key at 0x${keyHandle.toString(16)}`);
  return checked(key);
}

/** A certificate for another key has the evidence refused wherever it goes, so it is not made. */
export function checkCertificate({ area }: AttestationKey, certificates: readonly Uint8Array[]): void {
  const [leaf] = certificates;
  if (!leaf) return;
  const spki = readEvidence('the certificate of the attestation key', () => certificateSpki(leaf));
  if (equalBytes(spki, area.spki)) return;
  const digest = (key: Uint8Array) => toHex(nodeCrypto.hash('sha256', key));
  throw new CollectError(
    'EVIDENCE_MISMATCH',
    `the certificate is for key ${digest(spki)}, the TPM signs with key ${digest(area.spki)}`,
  );
}

async function look(session: TpmSession, options: TpmWayOptions): Promise<Seen> {
  const certificates = await readCertificates(session, options.certificates);
  const spki = await withKey(session, { ...options, certificates }, ({ area }) => Promise.resolve(area.spki));
  const key = `attestation key ${toHex(nodeCrypto.hash('sha256', spki))}`;
  if (certificates.length > 0) {
    return { state: 'usable', detail: `${key} with ${certificates.length} certificates` };
  }
  const fix =
    'Have an authority of yours issue a certificate for the attestation key, and configure its chain.';
  return { state: 'unusable', detail: `${key}, but ${NO_CERTIFICATE}`, fix };
}
